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
	// Line, if set before the first write, is called with every complete line, in
	// order and without its newline. It must not use the Log.
	Line func(string)

	mu         sync.Mutex
	text       bytes.Buffer
	incomplete []byte          // the start of a line whose newline was not written yet
	waiting    []chan struct{} // closed at the next write
}

// Write appends b to the log and wakes every goroutine waiting for a change.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	for _, c := range l.waiting {
		close(c)
	}
	l.waiting = nil
	if l.Line != nil {
		l.callLine(b)
	}
	return len(b), nil
}

func (l *Log) callLine(b []byte) {
	l.incomplete = append(l.incomplete, b...)
	for {
		i := bytes.IndexByte(l.incomplete, '\n')
		if i < 0 {
			return
		}
		l.Line(string(l.incomplete[:i]))
		l.incomplete = l.incomplete[i+1:]
	}
}

// String returns everything written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Changed returns a channel. The next write closes it.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	l.waiting = append(l.waiting, c)
	return c
}

// Count returns the number of occurrences of text in the log.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// LinesWith returns the lines with text.
func (l *Log) LinesWith(text string) []string {
	var lines []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Tail returns the last n lines, for a failure message.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Logger returns a logger to l. It writes records of this level and above, as text.
func (l *Log) Logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}
