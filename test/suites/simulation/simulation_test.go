//go:debug randseednop=0

// Package simulation has tests only: watcher, layout, writer, notifier and the
// pipeline that joins them, in one process with a fake clock, against an API
// server, a volume and apps that are all in memory. The packages below it are used
// by its tests alone.
//
// A seed decides all that happens: changes of Secrets, stale, repeated, reordered
// and skipped events of their watches, errors of the API server and of the file
// system, harm that someone does in the volume, apps that cannot be notified,
// kills at any call on the volume, and restarts. After every call on the volume
// a reader looks at it. In the end all faults stop, and the volume has to become
// what the API has, every app has to be notified of it, and then nothing more may
// happen.
//
// The clock is fake and there is one processor, but Go's maps and selects, and a
// pause of some milliseconds before a new list, differ from run to run. So each
// decision comes from the seed and from what it is about, not from the order in
// which questions are asked. Of sixty seeds, some 48 take the same course twice, call
// for call, but for the order at one instant; the others end up the same.
package simulation

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "the one seed that TestSimulation runs, with a trace; 0: many")
	seedCount = flag.Uint64("seeds", defaultSeeds, "how many seeds TestSimulation runs")
	firstSeed = flag.Uint64("first", 1, "the first of them")
	stride    = flag.Uint64("stride", 0, "of a child: run each STRIDE-th seed; 0: start children")
)

// TestSimulation runs many seeds. One that fails is run again, with a trace, by
//
//	go test -C test ./suites/simulation -seed N
func TestSimulation(t *testing.T) {
	if *oneSeed == 0 && *stride == 0 {
		runChildren(t)
		return
	}
	runtime.GOMAXPROCS(1) // as the program has it, and for the order of goroutines
	if *oneSeed != 0 {
		w := play(t, *oneSeed, true)
		t.Logf("the trace of seed %d:\n%s", *oneSeed, strings.Join(w.trace, "\n"))
		if w.failure != "" {
			t.Errorf("seed %d: %s", *oneSeed, w.failure)
		}
		return
	}
	failed := 0
	for seed := *firstSeed; seed < *firstSeed+*seedCount && failed < maxFailures; seed += *stride {
		if w := play(t, seed, false); w.failure != "" {
			failed++
			t.Errorf("seed %d: %s (again, with a trace: go test -C test ./suites/simulation -seed %d)", seed, w.failure, seed)
		}
	}
}

const maxFailures = 5

// play runs one seed to its end.
func play(t *testing.T, seed uint64, verbose bool) (w *world) {
	//lint:ignore SA1019 the client's backoffs take theirs from there
	rand.Seed(int64(seed))
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(seed, verbose)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.supervise(ctx) })
		w.drive(ctx)
		cancel()
		running.Wait()
		w.server.Stop()
	})
	return w
}

// runChildren runs the seeds in one process for each processor. Each has one
// processor for itself.
func runChildren(t *testing.T) {
	children := runtime.GOMAXPROCS(0)
	var running sync.WaitGroup
	for i := range children {
		running.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSimulation$",
				fmt.Sprintf("-first=%d", *firstSeed+uint64(i)), fmt.Sprintf("-seeds=%d", *seedCount-uint64(i)), fmt.Sprintf("-stride=%d", children))
			out, err := cmd.CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && (errors.As(err, &exit) || t.Context().Err() == nil) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	running.Wait()
}
