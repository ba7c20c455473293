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

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"
)

// rotations is more than a year of hourly rotations.
const rotations = 10_000

// TestProgram_yearOfRotations rotates as fast as possible on a real file system with inotify
// and waits for each notification. At the end the volume, the memory, the descriptors, the
// goroutines and the inotify watches must not exceed their level after a hundred rotations.
func TestProgram_yearOfRotations(t *testing.T) {
	y := newYear(t)
	y.rotate(100)
	early := y.afterGrace()
	began := time.Now()
	y.rotate(rotations)
	took := time.Since(began)
	late := y.afterGrace()
	t.Logf("%d rotations in %v; early %+v, late %+v", rotations, took.Round(time.Millisecond), early, late)
	if late.watches != early.watches || late.descriptors > early.descriptors ||
		late.goroutines > early.goroutines || late.heap > early.heap+1<<20 {
		t.Errorf("resources grow over a year: early %+v, late %+v", early, late)
	}
}

// A year is the program in this process, with an app that reports its notifications.
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
	y := &year{t, apiserver.NewStore(), testsupport.MemoryDir(t), make(chan uint64, 1)}
	noFaults := func(...any) float64 { return 0.5 }
	server := apiserver.New(apiserver.Options{Store: y.api, Dice: noFaults, Tracef: func(string, ...any) {}})
	p, err := New(Config{NotifyFirst: true}, Outside{
		Dir: y.dir, API: server, Logger: slog.New(slog.DiscardHandler),
		Targets: []notifier.Target{{Name: "app", Key: "app", Notify: y.Notify}},
	})
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
		y.api.Set(name, true, Keys(name, 1))
	}
	return y
}

// rotate changes the required Secret n times and waits for each notification. The files of
// the first generation may arrive in several generations.
func (y *year) rotate(n int) {
	for range n {
		value := y.api.Set(Required, true, Keys(Required, 1)).Data[requiredKey]
		for y.value() != value {
			select {
			case <-y.notified:
			case <-time.After(time.Minute):
				y.Fatalf("%s: no notification", value)
			}
		}
	}
}

func (y *year) value() string {
	data, _ := os.ReadFile(filepath.Join(y.dir, Required, requiredKey))
	return string(data)
}

// resources counts the resources of a process, to find leaks.
type resources struct {
	descriptors, watches, goroutines int
	heap                             uint64 // bytes
}

// afterGrace waits for the end of all grace periods and returns the resources.
func (y *year) afterGrace() (s resources) {
	y.api.Forget() // the history of the API server in this test does not count
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		own, err := filepath.Glob(filepath.Join(y.dir, "..*"))
		if err == nil && len(own) == 5 { // ..data, ..lock, ..notified.json, a generation and its record
			break
		}
		if time.Now().After(end) {
			y.Fatalf("unexpected entries in the volume: %q, %v", own, err)
		}
	}
	for { // until the goroutines of the last notification end
		now := y.resources()
		if now == s {
			return s
		}
		s = now
		<-tick.C
	}
}

func (y *year) resources() (s resources) {
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil || len(infos) == 0 {
		y.Fatal(fmt.Errorf("read the descriptors: %w", err))
	}
	for _, path := range infos {
		text, err := os.ReadFile(path)
		if err == nil { // otherwise it was the descriptor of the directory listing
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
