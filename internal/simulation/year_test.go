package simulation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// rotations are more than a year's, at one an hour.
const rotations = 10_000

// TestAYearOfRotations makes them as fast as they go, on a real file system with
// inotify, and waits for each to be notified. In the end there is no more than after
// the first hundred: in the volume, of memory, descriptors, goroutines and inotify
func TestAYearOfRotations(t *testing.T) {
	y := newYear(t)
	y.rotate(100)
	early := y.settled()
	began := time.Now()
	y.rotate(rotations)
	took := time.Since(began)
	late := y.settled()
	t.Logf("%d rotations in %v; early %+v, late %+v", rotations, took.Round(time.Millisecond), early, late)
	if late.watches != early.watches || late.descriptors > early.descriptors || late.goroutines > early.goroutines || late.heap > early.heap+1<<20 {
		t.Errorf("a year leaves something: early %+v, late %+v", early, late)
	}
}

// year is the program in this process, with an app that says what it was told.
type year struct {
	*testing.T
	*world
	dir  string
	told chan uint64
}

func (y *year) Notify(_ context.Context, c notifier.Changes) error {
	y.told <- c.Generation
	return nil
}

func newYear(t *testing.T) *year {
	dir, err := os.MkdirTemp("/dev/shm", "simulation-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	y := &year{t, newWorld(1, false), dir, make(chan uint64, 1)}
	y.variant = variant{notifyFirst: true}
	p, err := y.assembleOn(dir, nil, []notifier.Target{{Name: "app", Notify: y.Notify}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, p.writer.Close()); err != nil {
			t.Error(err)
		}
		y.server.stop()
	})
	y.locked(func() {
		for _, name := range secrets {
			y.truth.put(name, true, keys(name, 1))
		}
	})
	return y
}

// rotate changes the required Secret n times, which the app is told of each time. The
// first generation may come in parts.
func (y *year) rotate(n int) {
	for range n {
		var value string
		y.locked(func() {
			y.truth.put(required, true, keys(required, 1))
			value = y.truth.objects[required].data[required+"-a"]
			y.truth.data = map[string]map[int]map[string]string{}
		})
		for y.value() != value {
			select {
			case <-y.told:
			case <-time.After(time.Minute):
				y.Fatalf("%s: not told", value)
			}
		}
	}
}

func (y *year) value() string {
	data, _ := os.ReadFile(filepath.Join(y.dir, required, required+"-a"))
	return string(data)
}

// traces are what a process may leave.
type traces struct {
	descriptors, watches, goroutines int
	heap                             uint64 // bytes
}

// settled waits for the end of all graces.
func (y *year) settled() (s traces) {
	y.locked(func() { // what the API server of this test remembers does not count
		for i := range y.truth.log {
			last := y.truth.objects[y.truth.log[i].name()]
			y.truth.log[i].before, y.truth.log[i].after = last, last
		}
	})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		own, err := filepath.Glob(filepath.Join(y.dir, "..*"))
		if err == nil && len(own) == 4 { // ..data, ..notified.json, a generation and its record
			break
		}
		if time.Now().After(end) {
			y.Fatalf("left in the volume: %q, %v", own, err)
		}
	}
	for { // the last notification's goroutines
		now := y.traces()
		if now == s {
			return s
		}
		s = now
		<-tick.C
	}
}

func (y *year) traces() (s traces) {
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil || len(infos) == 0 {
		y.Fatal(fmt.Errorf("no descriptors: %w", err))
	}
	for _, path := range infos {
		text, err := os.ReadFile(path)
		if err == nil { // else it was the one of the listing
			s.descriptors++
			s.watches += strings.Count(string(text), "inotify wd:")
		}
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s.goroutines, s.heap = runtime.NumGoroutine(), memory.HeapAlloc>>16<<16 // in pages of 64 KiB
	return s
}
