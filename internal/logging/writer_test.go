package logging

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// blocked is an output without a reader. Writes block until it is closed.
type blocked struct {
	release chan struct{}
	got     strings.Builder
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.release
	return b.got.Write(p)
}

// TestWriter_doesNotBlock: lines beyond the buffer are lost and counted, and the others are
// written in order when the reader continues.
func TestWriter_doesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{release: make(chan struct{})}
		w := NewWriter(out)
		const lines = maxLines + 100
		for i := range lines {
			fmt.Fprintf(w, "%d\n", i) // would deadlock the bubble if it blocked
			synctest.Wait()
		}
		if lost := w.Lost(); lost != 99 { // the goroutine holds a line besides the buffer
			t.Errorf("lost %d lines, want 99", lost)
		}
		close(out.release)
		w.Close(time.Minute)
		got := strings.Split(strings.TrimSpace(out.got.String()), "\n")
		if len(got) != lines-99 || got[0] != "0" || got[len(got)-1] != fmt.Sprint(maxLines) {
			t.Errorf("wrote %d lines from %s to %s", len(got), got[0], got[len(got)-1])
		}
	})
}

// TestWriter_boundsBytes: long lines do not fill the memory.
func TestWriter_boundsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{release: make(chan struct{})}
		w := NewWriter(out)
		line := []byte(strings.Repeat("x", maxBytes/4))
		for range 10 {
			_, _ = w.Write(line)
		}
		if lost := w.Lost(); lost != 6 {
			t.Errorf("lost %d lines, want 6", lost)
		}
		close(out.release)
		synctest.Wait()
		_, _ = w.Write(line)
		if lost := w.Lost(); lost != 6 {
			t.Errorf("lost %d lines after the buffer was empty, want 6", lost)
		}
		w.Close(time.Minute)
	})
}

// TestClose_limit: Close does not wait forever for a blocked output.
func TestClose_limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{release: make(chan struct{})}
		w := NewWriter(out)
		fmt.Fprintln(w, "line")
		began := time.Now()
		w.Close(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v, want a second", took)
		}
		close(out.release)
	})
}

// TestWriter_closedPipe: a failed output loses its lines and nothing else.
func TestWriter_closedPipe(t *testing.T) {
	r, out := io.Pipe()
	_ = r.Close()
	w := NewWriter(out)
	n, err := fmt.Fprintln(w, "line")
	w.Close(time.Minute)
	if n != 5 || err != nil || w.Lost() != 1 {
		t.Errorf("Write returned %d, %v, and %d lines are lost; want 5, nil and 1", n, err, w.Lost())
	}
}
