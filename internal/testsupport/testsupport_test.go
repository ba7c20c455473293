package testsupport

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// A recorder stands in for the testing.TB of a test that is expected to fail.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// failures returns the failures reported by check.
func failures(t *testing.T, check func(testing.TB)) []string {
	r := &recorder{TB: t}
	var done sync.WaitGroup
	done.Go(func() { check(r) })
	done.Wait()
	return r.failures
}

func wantFailures(t *testing.T, check func(testing.TB), want ...string) {
	t.Helper()
	if got := failures(t, check); !slices.Equal(got, want) {
		t.Errorf("failures %q, want %q", got, want)
	}
}

func TestLog_tail(t *testing.T) {
	log := &Log{}
	for _, part := range []string{"a", "b\nc\n", "\nd\n"} {
		log.Write([]byte(part))
	}
	if got := log.Tail(2); got != "\nd" {
		t.Errorf("tail %q, want the last two lines", got)
	}
}

// TestLog_concurrent writes from several goroutines. Run it with -race.
func TestLog_concurrent(t *testing.T) {
	var log Log
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			log.Logger(slog.LevelInfo).Info("published")
			log.Logger(slog.LevelInfo).Debug("hidden")
		})
	}
	done.Wait()
	if got := log.Count("published"); got != 8 {
		t.Errorf("%d records, want 8", got)
	}
	if got := log.Count("hidden"); got != 0 {
		t.Errorf("%d records below the level, want none", got)
	}
}

func TestEventually(t *testing.T) {
	calls := 0
	third := func() error {
		if calls++; calls < 3 {
			return errors.New("too early")
		}
		return nil
	}
	wantFailures(t, func(t testing.TB) { Eventually(t, "the third call", third) })
	never := errors.New("never")
	wantFailures(t, func(t testing.TB) { EventuallyWithin(t, 0, "the end", func() error { return never }) },
		"waited 0s for the end: never")
}

func TestWantError(t *testing.T) {
	err := errors.New("publish to /secrets: disk full")
	wantFailures(t, func(t testing.TB) { WantError(t, err, "/secrets", "disk full") })
	wantFailures(t, func(t testing.TB) { WantError(t, nil, "disk") }, `no error, want an error with ["disk"]`)
	wantFailures(t, func(t testing.TB) { WantError(t, err, "memory") },
		`error "publish to /secrets: disk full" does not contain "memory"`)
}

func TestMemoryDir(t *testing.T) {
	dir := MemoryDir(t)
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("got %v, %v, want a directory that every user can write", info, err)
	}
}
