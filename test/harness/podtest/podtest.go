// Package podtest runs the sidecar and other programs in a shared PID namespace in tests,
// like the containers of a Pod with shareProcessNamespace. A Pod is a scene of sidecartest
// with a pause program as PID 1. All its processes end with the test. Programs run as a user
// other than root.
//
// The package reports the output of a program, its PID in the namespace, and its end. It
// knows nothing about the program or the expected actions of the sidecar. It requires gcc,
// and root or a user namespace.
//
// PROGRAMS_SEED repeats the random decisions of a run. Main prints the seed.
package podtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// Main runs the tests with sidecartest.Main, as root or as root of a user namespace. Up to parallel tests run
// simultaneously: most of them wait most of the time.
func Main(m *testing.M, parallel int) { run(m, sidecartest.Options{Parallel: parallel}) }

// MainAlone is Main for a suite that waits for other suites with sidecartest.Options.Alone.
func MainAlone(m *testing.M, parallel int) {
	run(m, sidecartest.Options{Parallel: parallel, Alone: true})
}

func run(m *testing.M, o sidecartest.Options) {
	printSeed := func() error {
		_, err := fmt.Fprintf(os.Stderr, "PROGRAMS_SEED=%d\n", seed)
		return err
	}
	o.NeedsRoot, o.Prepare = true, printSeed
	sidecartest.Main(m, o)
}

var seed = Number("PROGRAMS_SEED", int(time.Now().UnixNano()&0xffffffff))

// Number returns the value of an environment variable, or a default if it is not a number.
func Number(variable string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return otherwise
	}
	return n
}

// Random returns a generator that depends only on the seed and on the name of the test.
func Random(t testing.TB) *rand.Rand {
	name := uint64(14695981039346656037)
	for _, c := range []byte(t.Name()) {
		name = (name ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(uint64(seed), name))
}

// UpTo returns a random duration below d.
func UpTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
