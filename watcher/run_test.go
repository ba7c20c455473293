package watcher

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestMain fails if a test leaves a goroutine behind. The tests stop their Watchers in
// many different states.
//
// The tests spend most of their time waiting, so TestMain raises the number of parallel
// tests.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16")
	code := m.Run()
	var left string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		stacks := make([]byte, 1<<20)
		left = string(stacks[:runtime.Stack(stacks, true)])
		_, left, _ = strings.Cut(left, "\n\n") // skip this goroutine
		if !strings.Contains(left, "client-go") && !strings.Contains(left, "http2") &&
			!strings.Contains(left, "secret-sync") {
			os.Exit(code)
		}
	}
	println("a test left goroutines behind:\n" + left)
	os.Exit(1)
}

// A running is a Watcher whose Run is active.
type running struct {
	*Watcher
	t    *testing.T
	logs *journal
	stop func()
}

// start runs a Watcher that logs at debug level. At the end of the test, or at a call of
// stop, the Watcher must return within a second, and its log must contain no value.
func start(t *testing.T, o Options) *running {
	t.Helper()
	logs := &journal{}
	o.Namespace = "ns"
	o.Logger = slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	r := &running{Watcher: w, t: t, logs: logs}
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
		case <-time.After(time.Second):
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			began := time.Now()
			<-done
			t.Errorf("Run did not return within 1 s, but %v later\n%s", time.Since(began), stacks)
		}
		value := base64.StdEncoding.EncodeToString([]byte(canary))[:8]
		if text := logs.String(); strings.Contains(text, canary) || strings.Contains(text, value) {
			t.Errorf("a value is in the log:\n%s", text)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// value returns the password in a Secret, without the canary.
func (r *running) value(name string) string {
	return strings.TrimPrefix(string([]byte(r.Snapshot().Secrets[name].Data["password"])), canary)
}

// wait waits until ok returns true. After the longest time it fails the test.
func (r *running) wait(condition string, longest time.Duration, ok func() bool) {
	r.t.Helper()
	testsupport.EventuallyWithin(r.t, longest, condition, func() error {
		if !ok() {
			return fmt.Errorf("not yet\n%s", r.logs)
		}
		return nil
	})
}

// waitValue waits until a Secret contains the value, or does not exist if value is "".
func (r *running) waitValue(name, value string, longest time.Duration) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%s=%q", name, value), longest,
		func() bool { return r.value(name) == value && len(r.Snapshot().Unsynced) == 0 })
}

func (r *running) up(watch string) bool {
	for _, s := range r.Status() {
		if s.Name == watch {
			return s.Up
		}
	}
	r.t.Fatalf("no status of %s", watch)
	return false
}

// poked reports whether Changed contained a poke, and removes it.
func (r *running) poked() bool {
	select {
	case <-r.Changed():
		return true
	default:
		return false
	}
}

// A journal collects log lines.
type journal struct{ testsupport.Log }

// level returns the lines of a level.
func (j *journal) level(level string) []string {
	var lines []string
	for line := range strings.Lines(j.String()) {
		if strings.Contains(line, `"level":"`+level+`"`) {
			lines = append(lines, line)
		}
	}
	return lines
}
