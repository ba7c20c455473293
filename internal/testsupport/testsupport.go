// Package testsupport contains the helpers shared by the tests of all modules. It knows nothing about Secrets or
// Kubernetes.
package testsupport

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is the time limit of a test for an operation of a few milliseconds. It is long, so a busy machine does not
// fail the test.
const Patience = 20 * time.Second

// Eventually is EventuallyWithin with the limit Patience.
func Eventually(t testing.TB, condition string, check func() error) {
	t.Helper()
	EventuallyWithin(t, Patience, condition, check)
}

// EventuallyWithin polls check until it returns nil. It fails the test with the last error if this takes longer than
// limit. The condition completes "waited for".
func EventuallyWithin(t testing.TB, limit time.Duration, condition string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if err := check(); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", limit, condition, err)
		}
	}
}

// WantError fails the test if err is nil or if its text lacks any of the parts.
func WantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want an error with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
}

// MemoryDir returns a new directory on a memory file system, like the volume of a Pod, or a
// temporary directory if the machine lacks /dev/shm. It is removed when the test ends.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "secret-sync-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A Log keeps everything written to it. Any number of goroutines may use a Log, so a single Log can serve as both
// Stdout and Stderr of a command. The zero value is ready.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns the number of occurrences of text in the log.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Tail returns the last n lines, for a failure message.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Logger returns a logger to l. It writes records of this level and above, as text.
func (l *Log) Logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}
