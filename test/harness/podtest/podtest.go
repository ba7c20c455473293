// Package podtest has the sidecar and programs share a PID namespace in tests, as the
// containers of a Pod do with shareProcessNamespace. A Pod is a scene of sidecartest
// with a pause program as PID 1; all its processes end with the test. Programs run
// as another user than root.
//
// It says what a program printed, which number it has there, and how it ended. It must
// not know whose program that is, or what the sidecar should do about it. It needs gcc,
// and root or a user namespace.
//
// What is random repeats with PROGRAMS_SEED, which Main prints.
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

// Main is sidecartest.Main, as root or as root of a user namespace.
func Main(m *testing.M) {
	printSeed := func() error {
		_, err := fmt.Fprintf(os.Stderr, "PROGRAMS_SEED=%d\n", seed)
		return err
	}
	// Most tests wait most of the time.
	sidecartest.Main(m, sidecartest.Options{NeedsRoot: true, Parallel: 6, Prepare: printSeed})
}

var seed = Number("PROGRAMS_SEED", int(time.Now().UnixNano()&0xffffffff))

// Number is an environment variable's, or what it is without one.
func Number(variable string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return otherwise
	}
	return n
}

// Random gives the same numbers for a test of the same name and seed.
func Random(t testing.TB) *rand.Rand {
	name := uint64(14695981039346656037)
	for _, c := range []byte(t.Name()) {
		name = (name ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(uint64(seed), name))
}

// UpTo is a random time below d.
func UpTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
