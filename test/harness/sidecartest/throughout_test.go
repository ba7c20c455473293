package sidecartest

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// A failing stands in for a test that is expected to fail.
type failing struct {
	testing.TB
	failure string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestThroughout: it calls check, and fails at the first error.
func TestThroughout(t *testing.T) {
	calls := 0
	Throughout(t, 20*time.Millisecond, "the state", func() error { calls++; return nil })
	if calls == 0 {
		t.Error("the state was not checked")
	}
	f, ended := &failing{TB: t}, make(chan struct{})
	go func() {
		defer close(ended)
		Throughout(f, time.Hour, "the state", func() error { return errors.New("wrong") })
	}()
	<-ended
	if f.failure != "the state: wrong" {
		t.Errorf("got failure %q", f.failure)
	}
}
