package main

import (
	"bytes"
	"sync"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// A lineLog is a Log that also calls line with every complete line, in order and without its
// newline. line must not use the lineLog.
type lineLog struct {
	testsupport.Log
	line func(string)

	mu         sync.Mutex
	incomplete []byte // the start of a line whose newline was not written yet
}

// Write appends b to the log and calls line.
func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.incomplete = append(l.incomplete, b...)
	for {
		line, rest, complete := bytes.Cut(l.incomplete, []byte("\n"))
		if !complete {
			return l.Log.Write(b)
		}
		l.line(string(line))
		l.incomplete = rest
	}
}
