package testsupport

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// A Log keeps everything written to it. Any number of goroutines may use a Log, so a
// single Log can serve as both Stdout and Stderr of a command. The zero value is ready.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends b to the log.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns everything written so far.
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
