//go:build amd64 || arm64

package main

// entry is the entry point of the program if it is linked with -E, as in the Dockerfile. The sidecar, which has no
// arguments, ignores SIGHUP from the first instruction until run catches it. A signal in this time, 15 to 80 ms, is not
// needed, because the sidecar has not read any Secret.
//
//lint:ignore U1000 the linker refers to it
func entry()
