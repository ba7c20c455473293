package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
)

// rotations are more than a year's, at one an hour.
const rotations = 10_000

// TestAYearOfRotations makes them as fast as they go, on a real file system with
// inotify, and waits for each to be notified. In the end there is no more than after
// the first hundred: in the volume, of memory, descriptors, goroutines and inotify watches.
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

// year is the program in this process, with an app that passes on what it is notified of.
type year struct {
	*testing.T
	api      *apiserver.Store
	dir      string
	notified chan uint64
}

func (y *year) Notify(_ context.Context, c notifier.Changes) error {
	y.notified <- c.Generation
	return nil
}

func newYear(t *testing.T) *year {
	y := &year{t, apiserver.NewStore(), memoryVolume(t), make(chan uint64, 1)}
	well := func(...any) float64 { return 0.5 }
	server := apiserver.New(apiserver.Options{Store: y.api, Dice: well, Tracef: func(string, ...any) {}})
	p, err := New(Config{NotifyFirst: true}, Outside{Dir: y.dir, API: server, Targets: []notifier.Target{{Name: "app", Notify: y.Notify}}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, p.Close()); err != nil {
			t.Error(err)
		}
		server.Stop()
	})
	for _, name := range Secrets {
		y.api.Put(name, true, Keys(name, 1))
	}
	return y
}

// memoryVolume is a folder in memory, or a temporary one where there is none.
func memoryVolume(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "simulation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// rotate changes the required Secret n times, which the app is notified of each time.
// The first generation may come in parts.
func (y *year) rotate(n int) {
	for range n {
		value := y.api.Put(Required, true, Keys(Required, 1)).Data[requiredKey]
		for y.value() != value {
			select {
			case <-y.notified:
			case <-time.After(time.Minute):
				y.Fatalf("%s: not notified", value)
			}
		}
	}
}

func (y *year) value() string {
	data, _ := os.ReadFile(filepath.Join(y.dir, Required, requiredKey))
	return string(data)
}

// traces are what a process may leave.
type traces struct {
	descriptors, watches, goroutines int
	heap                             uint64 // bytes
}

// settled waits for the end of all graces.
func (y *year) settled() (s traces) {
	y.api.Forget() // what the API server of this test remembers does not count
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
