package notifier

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/secret-sync/secret-sync/internal/wake"
)

// An Interval separates two signals to a process, and a signal and the next publish, by a minimum time, in which the
// process reads its files. All targets share it, because several targets can name the same process.
type Interval struct {
	length time.Duration

	mu   sync.Mutex        // held by Signal during a signal, and by Swap during a rename
	ends map[int]time.Time // by PID; 0: signals of an earlier sidecar to any process
	last time.Time         // the latest of ends
}

// NewInterval returns an Interval of this length. If it is 0, nothing waits.
func NewInterval(length time.Duration) *Interval {
	return &Interval{length: length, ends: map[int]time.Time{}}
}

// Signal calls send, which signals a process. A success starts the interval of the process. During an interval of the
// process, Signal returns a Failure instead.
func (i *Interval) Signal(pid int, send func() error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.DeleteFunc(i.ends, func(_ int, end time.Time) bool { return !time.Now().Before(end) })
	if rest := max(time.Until(i.ends[pid]), time.Until(i.ends[0])); rest > 0 {
		f := Failf("interval", "process %d may be reading its files after an earlier signal; the next signal follows "+
			"after SECRETSYNC_SIGNAL_INTERVAL (%v)", pid, i.length)
		f.Waiting, f.RetryAfter = true, rest
		return f
	}
	err := send()
	if err == nil {
		i.start(pid)
	}
	return err
}

// Start starts the interval of a process that has received its signal only now.
func (i *Interval) Start(pid int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.start(pid)
}

func (i *Interval) start(pid int) {
	i.last = time.Now().Add(i.length)
	i.ends[pid] = i.last
}

// End returns the time before which a process may be reading its files, so nothing should be published.
func (i *Interval) End() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.last
}

// Swap calls rename, which makes a new generation current, after all intervals. A process that is signaled later reads
// the new generation.
func (i *Interval) Swap(ctx context.Context, rename func() error) error {
	for ctx.Err() == nil {
		wake.Sleep(ctx, time.Until(i.End()))
		i.mu.Lock()
		if !time.Now().Before(i.last) {
			defer i.mu.Unlock()
			return rename()
		}
		i.mu.Unlock()
	}
	return ctx.Err()
}
