//go:debug randseednop=0

// Package simulation contains only tests. They run the watcher, layout, pipeline, writer
// and notifier in a process with a fake clock. The API server, the volume and the apps are
// in memory. The packages below this directory are used only by these tests.
//
// A seed determines every event: changes of Secrets; stale, repeated, reordered and lost
// watch events; errors of the API server and of the file system; foreign changes in the
// volume; failed notifications; kills at any call on the volume; restarts. A reader
// checks the volume after every call on it. At the end all faults stop. Then the volume
// must converge to the state in the API, and every app must be notified. Afterwards
// nothing may happen.
//
// The clock is fake and only one processor is used. Still, the order of Go's maps and
// selects and a pause of some milliseconds before a new list vary between runs. Each
// decision therefore depends on the seed and on its subject, not on the order of the
// decisions. Of sixty seeds, about 48 run identically twice, call for call, except for the
// order of simultaneous events. The others reach the same final state.
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

// TestSimulation runs many seeds. To run a failed seed again with a trace:
//
//	go test -C test ./suites/simulation -seed N
func TestSimulation(t *testing.T) {
	if *oneSeed == 0 && *stride == 0 {
		runChildren(t)
		return
	}
	runtime.GOMAXPROCS(1) // as in the program, and for a stable order of goroutines
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
			t.Errorf("seed %d: %s\nfor a trace: go test -C test ./suites/simulation -seed %d", seed, w.failure, seed)
		}
	}
}

const maxFailures = 5

// play runs a seed to its end.
func play(t *testing.T, seed uint64, verbose bool) (w *world) {
	//lint:ignore SA1019 the backoffs of the client use this source
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

// runChildren runs the seeds in a process per processor. Each process uses a single
// processor.
func runChildren(t *testing.T) {
	children := runtime.GOMAXPROCS(0)
	var running sync.WaitGroup
	for i := range children {
		running.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSimulation$",
				fmt.Sprintf("-first=%d", *firstSeed+uint64(i)), fmt.Sprintf("-seeds=%d", *seedCount-uint64(i)),
				fmt.Sprintf("-stride=%d", children))
			out, err := cmd.CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && (errors.As(err, &exit) || t.Context().Err() == nil) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	running.Wait()
}
