package kube

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// TestWatch_keepsNoBuffer: an idle watch keeps nothing of its last event. Otherwise each
// watch of a large Secret would keep about twice the size of the Secret.
func TestWatch_keepsNoBuffer(t *testing.T) {
	const size = 4 << 20
	r, w := io.Pipe()
	all, err := Watch[thing](t.Context(), streaming(200, jsonType, r), secrets, "7")
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan int)
	go func() {
		defer close(received)
		for e := range all {
			received <- len(e.Object.Data["k"])
		}
	}()
	before := heap()
	const event = `{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","data":{"k":"%s"}}}`
	_, _ = fmt.Fprintf(w, event, strings.Repeat("AAAA", size/3))
	<-received
	_, _ = w.Write([]byte("\n")) // the watch now waits for another event
	if got := heap() - before; got > size/4 {
		t.Errorf("an idle watch keeps %d bytes after an event of %d bytes", got, size)
	}
	_ = w.Close()
	<-received
}

// heap returns the number of bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
