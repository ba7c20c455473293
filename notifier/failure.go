package notifier

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// A Failure explains why a target was not notified and when to retry.
type Failure struct {
	// Kind identifies the cause and is equal for repeated failures. The log
	// contains a single warning per kind.
	Kind string
	// RetryAfter is the minimum delay before the next attempt.
	RetryAfter time.Duration
	// RetryWithin is the maximum delay, for attempts that cost nothing. Zero means
	// no limit.
	RetryWithin time.Duration
	// Waiting marks a target that works but is not ready yet. The delay is then
	// RetryAfter, without backoff.
	Waiting bool
	Err     error
}

// Failf returns a Failure of the given kind. format and args are those of fmt.Errorf.
func Failf(kind, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Err: fmt.Errorf(format, args...)}
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// AsFailure returns the Failure wrapped in err. For any other error it returns a
// Failure whose kind is the text of err.
func AsFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Kind: err.Error(), Err: err}
}

const (
	backoffFirst = 500 * time.Millisecond
	backoffMax   = 30 * time.Second
)

// newBackoff returns delays that start at 0.5 s and double up to 30 s. A random
// quarter is subtracted from each, so replicas that failed together do not retry
// together. wait.Backoff only adds jitter, so its base is three quarters.
func newBackoff() wait.Backoff {
	return wait.Backoff{
		Duration: backoffFirst * 3 / 4, Cap: backoffMax * 3 / 4, Jitter: 1. / 3,
		Factor: 2, Steps: 10, // enough to reach the cap
	}
}
