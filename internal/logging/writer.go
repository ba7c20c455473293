// Package logging writes log lines without blocking the program. The reader of standard error
// may stop reading, and the pipe to it holds only 64 KiB.
package logging

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"
)

const (
	maxLines = 1000
	maxBytes = 256 << 10 // of all lines in the buffer
)

// A Writer passes lines to another writer in a goroutine of its own. Lines beyond the size of
// its buffer are lost. Create it with NewWriter.
type Writer struct {
	lines   chan []byte
	closing chan struct{}
	done    chan struct{}
	bytes   atomic.Int64 // in the buffer
	lost    atomic.Int64
}

// NewWriter returns a Writer for out. It writes until Close.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{lines: make(chan []byte, maxLines), closing: make(chan struct{}), done: make(chan struct{})}
	go w.run(out)
	return w
}

// Write stores a line in the buffer, or counts it as lost. It never blocks and returns no error.
func (w *Writer) Write(line []byte) (int, error) {
	if w.bytes.Add(int64(len(line))) <= maxBytes {
		select {
		case w.lines <- bytes.Clone(line):
			return len(line), nil
		default:
		}
	}
	w.bytes.Add(-int64(len(line)))
	w.lost.Add(1)
	return len(line), nil
}

// Lost returns the number of lost lines.
func (w *Writer) Lost() int64 { return w.lost.Load() }

// Close returns when all lines in the buffer are written, and after limit at the latest. It must be called once.
func (w *Writer) Close(limit time.Duration) {
	close(w.closing)
	select {
	case <-w.done:
	case <-time.After(limit):
	}
}

// run writes lines until Close was called and the buffer is empty. A closed pipe loses lines.
func (w *Writer) run(out io.Writer) {
	defer close(w.done)
	for closing := w.closing; closing != nil || len(w.lines) > 0; {
		select {
		case line := <-w.lines:
			if _, err := out.Write(line); err != nil {
				w.lost.Add(1)
			}
			w.bytes.Add(-int64(len(line)))
		case <-closing:
			closing = nil
		}
	}
}
