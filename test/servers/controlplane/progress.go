package controlplane

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A ticker shows the progress of a build. On a terminal it updates a single line;
// elsewhere it prints a line from time to time.
type ticker struct {
	w     io.Writer
	name  string
	start time.Time
	tty   bool
	quit  chan struct{}
	done  chan struct{}

	mu    sync.Mutex
	count int
	last  string // the package that go compiles, or its last message
}

func startTicker(w io.Writer, name string) *ticker {
	t := &ticker{
		w: w, name: name, start: time.Now(), tty: isTerminal(w),
		last: "reading the build cache", quit: make(chan struct{}), done: make(chan struct{}),
	}
	go t.run()
	return t
}

// Write receives the output of go build -v.
func (t *ticker) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(b) {
		t.count++
		t.last = string(bytes.TrimSpace(line))
	}
	return len(b), nil
}

func (t *ticker) run() {
	defer close(t.done)
	every := 15 * time.Second
	if t.tty {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-t.quit:
			return
		case <-tick.C:
			t.show()
		}
	}
}

func (t *ticker) show() {
	t.mu.Lock()
	count, last := t.count, t.last
	t.mu.Unlock()
	if len(last) > 60 {
		last = "…" + last[len(last)-59:]
	}
	line := fmt.Sprintf("  %-14s %6s  %4d packages  %s", t.name, t.elapsed(), count, last)
	if t.tty {
		fmt.Fprintf(t.w, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(t.w, line)
}

func (t *ticker) elapsed() time.Duration { return time.Since(t.start).Round(time.Second) }

func (t *ticker) stop(err error) {
	close(t.quit)
	<-t.done
	if t.tty {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
	if err == nil {
		fmt.Fprintf(t.w, "  %-14s %6s  built\n", t.name, t.elapsed())
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
