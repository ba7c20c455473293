//go:build race

package simulation

// defaultSeeds takes a minute: with the race detector each is five times as slow.
const defaultSeeds = 700
