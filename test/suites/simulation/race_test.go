//go:build race

package simulation

// defaultSeeds run in a minute. With the race detector each seed takes five times as long.
const defaultSeeds = 700
