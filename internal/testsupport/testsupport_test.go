package testsupport

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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
	wantFailures(t, func(t testing.TB) { EventuallyTrue(t, Patience, "nothing", func() bool { return true }) })
	never := errors.New("never")
	wantFailures(t, func(t testing.TB) { EventuallyWithin(t, 0, "the end", func() error { return never }) },
		"waited 0s for the end: never")
	wantFailures(t, func(t testing.TB) { EventuallyTrue(t, 0, "the end", func() bool { return false }) },
		"waited 0s for the end: not true")
}

func TestThroughout(t *testing.T) {
	calls := 0
	count := func() error { calls++; return nil }
	wantFailures(t, func(t testing.TB) { Throughout(t, 20*time.Millisecond, "the state", count) })
	if calls == 0 {
		t.Error("the state was not checked")
	}
	wantFailures(t, func(t testing.TB) { Throughout(t, Patience, "the state", func() error { return os.ErrInvalid }) },
		"the state: invalid argument")
}

func TestWantError(t *testing.T) {
	err := errors.New("publish to /secrets: disk full")
	wantFailures(t, func(t testing.TB) { WantError(t, err, "/secrets", "disk full") })
	wantFailures(t, func(t testing.TB) { WantError(t, nil, "disk") }, `no error, want an error with ["disk"]`)
	wantFailures(t, func(t testing.TB) { WantError(t, err, "memory") },
		`error "publish to /secrets: disk full" does not contain "memory"`)
}

// TestWantNoLeak prints a value in every form. The search must find each of them.
func TestWantNoLeak(t *testing.T) {
	const value = "hunter2-canary"
	for _, text := range []string{
		"value=" + value,
		base64.StdEncoding.EncodeToString([]byte(value)),
		base64.StdEncoding.EncodeToString([]byte(value + " and more")),
		fmt.Sprintf("%x", value),
		fmt.Sprintf("%X", value),
		fmt.Sprint([]byte(value + "!")),
	} {
		if got := failures(t, func(t testing.TB) { WantNoLeak(t, "the log", text, "another-value", value) }); len(got) == 0 {
			t.Errorf("no failure for %q", text)
		}
	}
	wantFailures(t, func(t testing.TB) { WantNoLeak(t, "the log", "hunter2", value) })
	if got := failures(t, func(t testing.TB) { WantNoLeak(t, "the log", "", "abc") }); len(got) != 1 ||
		!strings.Contains(got[0], "too short") {
		t.Errorf("a short value: failures %q", got)
	}
}

func TestFiles(t *testing.T) {
	path := MemoryDir(t) + "/file"
	WriteFile(t, path, "text")
	if got := ReadFile(t, path); got != "text" {
		t.Errorf("got %q", got)
	}
	if FreeAddr(t) == "" {
		t.Error("no address")
	}
}
