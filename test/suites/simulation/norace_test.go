//go:build !race

package simulation

// defaultSeeds takes half a minute on two cores.
const defaultSeeds = 2000
