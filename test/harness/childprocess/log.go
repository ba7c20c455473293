package childprocess

import (
	"bytes"
	"strings"
	"sync"
)

// Log keeps what a program writes, and lets others wait for it. The zero value
// is ready. It may be the Stdout and the Stderr of one command at once.
type Log struct {
	// Line, when set before the start, is called with every whole line, without
	// its newline, in order.
	Line func(string)

	mu      sync.Mutex
	text    bytes.Buffer
	partial []byte
	waiting []chan struct{} // closed at the next write
}

// Write keeps b and wakes who waits.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	for _, c := range l.waiting {
		close(c)
	}
	l.waiting = nil
	l.lines(b)
	return len(b), nil
}

func (l *Log) lines(b []byte) {
	if l.Line == nil {
		return
	}
	l.partial = append(l.partial, b...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			return
		}
		l.Line(string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
}

// String is all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Changed is closed when something more is written.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	l.waiting = append(l.waiting, c)
	return c
}

// Tail is the last n lines, for an error message.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
