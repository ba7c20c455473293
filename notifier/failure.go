package notifier

import (
	"errors"
	"fmt"
	"time"

	"github.com/secret-sync/secret-sync/internal/wake"
)

// A Failure explains why a target was not notified and when to retry.
type Failure struct {
	// Kind identifies the cause and is equal for repeated failures. The log
	// contains a single warning per kind.
	Kind string
	// RetryAfter is the minimum delay before the next attempt.
	RetryAfter time.Duration
	// RetryWithin is the maximum delay, for attempts that cost nothing. Zero means no
	// limit.
	RetryWithin time.Duration
	// Waiting marks a working target as not ready yet. The delay is then RetryAfter,
	// without backoff.
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

// newBackoff returns the delays between the attempts for a generation.
func newBackoff() wake.Backoff { return wake.Backoff{First: backoffFirst, Max: backoffMax} }
