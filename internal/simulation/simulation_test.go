//go:debug randseednop=0

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
//	go test ./internal/simulation -seed N
func TestSimulation(t *testing.T) {
	if *oneSeed == 0 && *stride == 0 {
		runChildren(t)
		return
	}
	runtime.GOMAXPROCS(1) // as the program has it, and for the order of goroutines
	if *oneSeed != 0 {
		w := play(t, *oneSeed, true)
		t.Logf("the trace of seed %d:\n%s", w.seed, strings.Join(w.trace, "\n"))
		if w.failure != "" {
			t.Errorf("seed %d: %s", w.seed, w.failure)
		}
		return
	}
	failed := 0
	for seed := *firstSeed; seed < *firstSeed+*seedCount && failed < maxFailures; seed += *stride {
		if w := play(t, seed, false); w.failure != "" {
			failed++
			t.Errorf("seed %d: %s (again, with a trace: go test ./internal/simulation -seed %d)", seed, w.failure, seed)
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
		w.server.stop()
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
