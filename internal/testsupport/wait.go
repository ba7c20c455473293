package testsupport

import (
	"testing"
	"time"
)

// Patience is the time limit of a test for an operation of a few milliseconds. It is long, so
// a busy machine does not fail the test.
const Patience = 20 * time.Second

// interval is the time between two polls.
const interval = 5 * time.Millisecond

// Eventually polls check until it returns nil. It fails the test with the last error if this
// takes longer than Patience. The condition completes "waiting for".
func Eventually(t testing.TB, condition string, check func() error) {
	t.Helper()
	EventuallyWithin(t, Patience, condition, check)
}

// EventuallyWithin is Eventually with another time limit.
func EventuallyWithin(t testing.TB, limit time.Duration, condition string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(interval) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", limit, condition, err)
		}
	}
}

// EventuallyTrue polls check until it returns true. It fails the test if this takes longer
// than limit.
func EventuallyTrue(t testing.TB, limit time.Duration, condition string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !check(); time.Sleep(interval) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", limit, condition)
		}
	}
}

// Throughout polls check for the given time and fails the test at the first error. It shows
// that a forbidden state does not occur.
func Throughout(t testing.TB, duration time.Duration, condition string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(duration); time.Now().Before(deadline); time.Sleep(interval) {
		if err := check(); err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
	}
}
