package simulation

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
	"github.com/secret-sync/secret-sync/test/suites/simulation/program"
	"github.com/secret-sync/secret-sync/test/suites/simulation/reader"
	"github.com/secret-sync/secret-sync/test/suites/simulation/volume"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// A world contains everything outside the program. It outlives the program.
type world struct {
	config  program.Config
	verbose bool // keep a trace
	began   time.Time
	rand    *rand.Rand // used only by the driver
	dice    *dice

	traceMu sync.Mutex
	trace   []string // guarded by traceMu: the program may log while a call holds mu

	api     *apiserver.Store
	server  *apiserver.Server
	targets []*target

	mu      sync.Mutex // guards the fields below
	disk    *volume.Disk
	reader  *reader.Reader
	life    *life
	lives   int
	failure string // the first failure
	failed  chan struct{}
	numbers map[string]int // the directories of generations, in the order of their creation

	// The current faults, and counters.
	unreliable bool // for watches
	diskFault  string
	deadly     bool // the program is killed at a following call on the volume
	changes    int  // the number of changing calls on the volume
	calls      int  // the number of notifications
}

// layout returns the layout of the volume.
func (w *world) layout() generation.Layout {
	if w.chance(0.3) {
		return generation.Flat
	}
	return generation.Nested
}

func newWorld(seed uint64, verbose bool) *world {
	w := &world{
		verbose: verbose, began: time.Now(), rand: rand.New(rand.NewPCG(seed, 0)), dice: newDice(seed),
		api: apiserver.NewStore(), disk: volume.NewDisk(), failed: make(chan struct{}), numbers: map[string]int{},
	}
	w.config = program.Config{Layout: w.layout(), Remove: w.chance(0.5), NotifyFirst: w.chance(0.3)}
	if w.chance(0.3) {
		w.config.Settle = time.Second
	}
	w.reader = reader.New(reader.Options{
		Disk: w.disk, API: w.api, Layout: w.config.Layout, Remove: w.config.Remove, NotifyFirst: w.config.NotifyFirst,
		Wanted: program.Wanted, Plain: w.plain, Failf: w.failf,
	})
	for _, name := range []string{"process", "webhook", "exec"} {
		w.targets = append(w.targets, &target{world: w, name: name, app: w.reader.NewApp(name)})
	}
	w.server = apiserver.New(apiserver.Options{Store: w.api, Dice: w.dice.roll, Tracef: w.tracef})
	w.tracef("%+v", w.config)
	return w
}

// chance and pick make decisions of the driver.
func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

func pick[T any](w *world, from []T) T { return from[w.rand.IntN(len(from))] }

// between returns a random duration. Short durations are as frequent as long durations.
func (w *world) between(least, most time.Duration) time.Duration {
	d := least
	for d < most && w.chance(0.75) {
		d = d * 5 / 2
	}
	return min(d+time.Duration(w.rand.Int64N(int64(d))), most)
}

// plain returns a name in the volume with the number of the generation for its timestamp.
func (w *world) plain(name string) string {
	top := generation.Top(name)
	dir, _, _ := strings.Cut(strings.TrimSuffix(top, generation.Temporary), ".json")
	if !generation.GenerationName.MatchString(dir) {
		return name
	}
	if w.numbers[dir] == 0 {
		w.numbers[dir] = len(w.numbers) + 1
	}
	return fmt.Sprintf("G%d%s", w.numbers[dir], strings.TrimPrefix(name, dir))
}

// tracef adds an event to the trace.
func (w *world) tracef(format string, args ...any) {
	if w.verbose {
		line := fmt.Sprintf("%12.6f ", time.Since(w.began).Seconds()) + fmt.Sprintf(format, args...)
		w.traceMu.Lock()
		defer w.traceMu.Unlock()
		w.trace = append(w.trace, line)
	}
}

// failf records a failure. Only the first failure counts. mu is held.
func (w *world) failf(format string, args ...any) {
	if w.failure != "" {
		return
	}
	w.failure = fmt.Sprintf(format, args...)
	w.tracef("FAILURE: %s", w.failure)
	close(w.failed)
}

func (w *world) locked(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// logger returns a logger for the trace.
func (w *world) logger() *slog.Logger {
	if !w.verbose {
		return slog.New(slog.DiscardHandler)
	}
	out := writerFunc(func(line []byte) {
		w.tracef("log: %s", strings.TrimSpace(string(line)))
	})
	return slog.New(
		slog.NewTextHandler(
			out,
			&slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || a.Key == "duration" {
					return slog.Attr{}
				}
				return a
			}},
		),
	)
}

// A writerFunc receives the lines of a log.
type writerFunc func(line []byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

// sleep waits for d. It reports false if a check failed in the meantime.
func (w *world) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-w.failed:
	case <-ctx.Done():
	}
	return false
}

// A dice determines the outcome of the program's calls. The driver uses world.rand
// instead, because it makes its decisions in a fixed order.
type dice struct {
	seed   uint64
	mu     sync.Mutex
	counts map[string]int // how many times each question was asked; guarded by mu
}

func newDice(seed uint64) *dice { return &dice{seed: seed, counts: map[string]int{}} }

// roll returns a number from 0 to 1 for a question. The result depends only on the seed, on
// the question, and on how often it was asked.
func (d *dice) roll(question ...any) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := fmt.Sprint(question...)
	d.counts[key]++
	h := fnv.New64a()
	fmt.Fprint(h, d.seed, "/", key, "/", d.counts[key])
	return rand.New(rand.NewPCG(h.Sum64(), d.seed)).Float64()
}
