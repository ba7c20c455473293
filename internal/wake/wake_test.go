package wake

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestChannel_combinesPokes: several pokes before a receive wake the worker once.
func TestChannel_combinesPokes(t *testing.T) {
	c := NewChannel()
	for range 3 {
		c.Poke() // would block on a full channel
	}
	<-c
	select {
	case <-c:
		t.Error("a second poke was stored")
	default:
	}
	c.Poke()
	<-c
}

// TestSleep_waits: Sleep returns after the duration, and earlier when the context ends.
func TestSleep_waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		Sleep(t.Context(), time.Minute)
		if slept := time.Since(began); slept != time.Minute {
			t.Errorf("slept %v, want a minute", slept)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		Sleep(ctx, time.Minute)
		if slept := time.Since(began); slept != time.Second {
			t.Errorf("slept %v after the context ended, want a second", slept)
		}
	})
}

// TestBackoff_growsToLongest: the pauses double from 0.5 s up to the longest, less a quarter at most.
func TestBackoff_growsToLongest(t *testing.T) {
	for range 100 {
		b := NewBackoff(3 * time.Second)
		for i, longest := range []time.Duration{500, 1000, 2000, 3000, 3000, 3000} {
			longest *= time.Millisecond
			if pause := b.Step(); pause > longest || pause < longest*3/4 {
				t.Fatalf("pause %d is %v, want %v less a quarter at most", i, pause, longest)
			}
		}
	}
}

// TestBackoff_spreads: two replicas do not wait for the same time.
func TestBackoff_spreads(t *testing.T) {
	pauses := map[time.Duration]bool{}
	for range 20 {
		b := NewBackoff(time.Minute)
		pauses[b.Step()] = true
	}
	if len(pauses) < 10 {
		t.Errorf("20 first pauses have only %d values", len(pauses))
	}
}
