package notifier

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// failure is why a target was not told, with what the worker needs to deal with
// it. An error that is none is a failure whose reason is its text.
type failure struct {
	// reason is the kind, without numbers that differ from try to try: the log
	// has one line per kind, not one per try.
	reason string
	// after: not again before this long. 0 leaves it to the backoff.
	after time.Duration
	// waiting: nothing is wrong, it is only too early.
	waiting bool
	err     error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed makes a failure; format takes what fmt.Errorf takes.
func failed(reason, format string, args ...any) *failure {
	return &failure{reason: reason, err: fmt.Errorf(format, args...)}
}

// asFailure returns err as a failure; err is not nil.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{reason: err.Error(), err: err}
}

const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// backoff is the wait after the try with this number, from 0: 0.5 s, doubled up
// to 30 s, less a random quarter, so that replicas that failed together do not
// try together.
func backoff(tries int) time.Duration {
	d := backoffMost
	if tries < 6 { // 0.5 s << 6 is beyond the most; and no shift overflows
		d = min(backoffFirst<<tries, backoffMost)
	}
	return d - rand.N(d/4)
}
