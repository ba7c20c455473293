//go:build !race

package simulation

// defaultSeeds run in half a minute on two cores.
const defaultSeeds = 2000
