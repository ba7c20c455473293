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

// world is all that is outside of the program, and outlives it.
type world struct {
	config  program.Config
	verbose bool // keep a trace
	began   time.Time
	rand    *rand.Rand // the driver's alone
	dice    *dice

	traceMu sync.Mutex
	trace   []string // guarded by traceMu: the program may log while a call on the volume has mu

	api     *apiserver.Store
	server  *apiserver.Server
	targets []*target

	mu      sync.Mutex // guards all that follows
	disk    *volume.Disk
	reader  *reader.Reader
	life    *life
	lives   int
	failure string // the first one
	failed  chan struct{}
	numbers map[string]int // generations' directories, in the order in which they came

	// Faults that last, and what is counted.
	unreliable bool // watches
	diskFault  string
	deadly     bool // the program is killed at one of its next calls on the volume
	changes    int  // calls that change the volume
	calls      int  // of targets
}

func newWorld(seed uint64, verbose bool) *world {
	w := &world{
		verbose: verbose, began: time.Now(), rand: rand.New(rand.NewPCG(seed, 0)), dice: newDice(seed),
		api: apiserver.NewStore(), disk: volume.NewDisk(), failed: make(chan struct{}), numbers: map[string]int{},
	}
	w.config = program.Config{Flat: w.chance(0.3), Remove: w.chance(0.5), NotifyFirst: w.chance(0.3)}
	if w.chance(0.3) {
		w.config.Settle = time.Second
	}
	w.reader = reader.New(reader.Options{
		Disk: w.disk, API: w.api, Flat: w.config.Flat, Remove: w.config.Remove, NotifyFirst: w.config.NotifyFirst,
		Wanted: program.Wanted, Plain: w.plain, Failf: w.failf,
	})
	for _, name := range []string{"process", "webhook", "exec"} {
		w.targets = append(w.targets, &target{world: w, name: name, app: w.reader.NewApp(name)})
	}
	w.server = apiserver.New(apiserver.Options{Store: w.api, Dice: w.dice.roll, Tracef: w.tracef})
	w.tracef("%+v", w.config)
	return w
}

// chance and pick are the driver's decisions.
func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

func pick[T any](w *world, from []T) T { return from[w.rand.IntN(len(from))] }

// between gives a duration, small ones as often as large ones.
func (w *world) between(least, most time.Duration) time.Duration {
	d := least
	for d < most && w.chance(0.75) {
		d = d * 5 / 2
	}
	return min(d+time.Duration(w.rand.Int64N(int64(d))), most)
}

// plain gives a name in the volume with the generation's number for its time.
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

// tracef notes what happened.
func (w *world) tracef(format string, args ...any) {
	if w.verbose {
		line := fmt.Sprintf("%12.6f ", time.Since(w.began).Seconds()) + fmt.Sprintf(format, args...)
		w.traceMu.Lock()
		defer w.traceMu.Unlock()
		w.trace = append(w.trace, line)
	}
}

// failf notes that something is wrong. The first time counts. mu is held.
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

// logger puts the program's log into the trace.
func (w *world) logger() *slog.Logger {
	if !w.verbose {
		return slog.New(slog.DiscardHandler)
	}
	out := writerFunc(func(line []byte) {
		w.tracef("log: %s", strings.TrimSpace(string(line)))
	})
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "dur" || a.Key == "duration" {
			return slog.Attr{}
		}
		return a
	}}))
}

// writerFunc takes the lines of a log.
type writerFunc func(line []byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

// sleep waits; it reports false when something failed meanwhile.
func (w *world) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-w.failed:
	case <-ctx.Done():
	}
	return false
}

// dice decides what the program's calls run into. What the driver does is decided by
// world.rand: it asks in an order of its own.
type dice struct {
	seed   uint64
	mu     sync.Mutex
	counts map[string]int // how often a question was asked, by question; guarded by mu
}

func newDice(seed uint64) *dice { return &dice{seed: seed, counts: map[string]int{}} }

// roll gives a number from 0 to 1 for a question: the same for the same seed, the
// same question, and the same number of times it was asked.
func (d *dice) roll(question ...any) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := fmt.Sprint(question...)
	d.counts[key]++
	h := fnv.New64a()
	fmt.Fprint(h, d.seed, "/", key, "/", d.counts[key])
	return rand.New(rand.NewPCG(h.Sum64(), d.seed)).Float64()
}
