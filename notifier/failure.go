package notifier

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Failure is why a target was not notified.
type Failure struct {
	// Kind is the same from try to try: the log has one line per kind.
	Kind string
	// RetryAfter is the least time until the next try; the backoff may be longer.
	RetryAfter time.Duration
	// RetryWithin is the longest time, for a try that costs nothing; 0: no limit.
	RetryWithin time.Duration
	// Waiting: nothing is wrong, it is only too early. RetryAfter alone counts.
	Waiting bool
	Err     error
}

// Failf makes a Failure; format and args are those of fmt.Errorf.
func Failf(kind, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Err: fmt.Errorf(format, args...)}
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// AsFailure returns the Failure in err; of any other error the kind is its text.
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

// newBackoff waits up to 0.5 s first, doubles that up to 30 s, and takes off a
// random quarter, so that replicas that failed at the same time do not retry at
// the same time. wait.Backoff adds its jitter: a third of three quarters.
func newBackoff() wait.Backoff {
	return wait.Backoff{
		Duration: backoffFirst * 3 / 4, Cap: backoffMax * 3 / 4, Jitter: 1. / 3,
		Factor: 2, Steps: 10, // more than the cap needs
	}
}
