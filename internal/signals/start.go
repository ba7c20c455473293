//go:build amd64 || arm64

package signals

// start is the entry point of the program if it is linked with -E, as in the Dockerfile. The sidecar, which has no
// arguments, ignores SIGHUP from the first instructions: otherwise, SIGHUP ends the process while the Go runtime
// starts, for 15 to 80 ms. The runtime respects a signal that is ignored at its start, and catch makes it arrive again.
// A signal that arrives earlier is not needed, because the sidecar then has not read any Secret.
//
//lint:ignore U1000 the linker refers to it
func start()
