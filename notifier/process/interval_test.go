package process

import (
	"context"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// TestInterval_twoTargets: two targets that name the same process share its interval, so a process that executes
// itself again receives no second signal during its start.
func TestInterval_twoTargets(t *testing.T) {
	const length = 300 * time.Millisecond
	path, name, interval := t.TempDir()+"/pid", unique(), notifier.NewInterval(length)
	app, other := startHelper(t, name, "handle"), startHelper(t, unique(), "handle")
	write(t, path, strconv.Itoa(app.pid))
	opts := Options{Signal: unix.SIGHUP, Check: true, Interval: interval}
	byName := newByName(name, opts)
	opts.PIDFile = path
	byFile := newTarget(opts)
	began := time.Now()
	if err := byName.Notify(t.Context(), noChanges); err != nil {
		t.Fatal(err)
	}
	app.expect("got SIGHUP")
	err := byFile.Notify(t.Context(), noChanges)
	f := notifier.AsFailure(err)
	if since := time.Since(began); since < length && !(f.Waiting && f.RetryAfter > 0 && f.RetryAfter <= length) {
		t.Fatalf("%v after the first signal: %+v, want a wait", since, f)
	}
	testsupport.WantError(t, err, strconv.Itoa(app.pid), "SECRETSYNC_SIGNAL_INTERVAL (300ms)")
	write(t, path, strconv.Itoa(other.pid))
	if err := byFile.Notify(t.Context(), noChanges); err != nil {
		t.Errorf("another process: %v", err)
	}
	other.expect("got SIGHUP")
	write(t, path, strconv.Itoa(app.pid))
	for err != nil {
		if err = byFile.Notify(t.Context(), noChanges); err != nil && !notifier.AsFailure(err).Waiting {
			t.Fatal(err)
		}
	}
	if since := time.Since(began); since < length {
		t.Errorf("signaled again %v after the first signal, want %v", since, length)
	}
	app.expect("got SIGHUP")
	app.alive() // without a third signal
}

// TestInterval_pending: while a signal remains pending, further attempts do not start the interval again, so they delay
// no publish. It starts again when the process receives the signal.
func TestInterval_pending(t *testing.T) {
	proc, interval := newFakeProc(t), notifier.NewInterval(time.Hour)
	app := process{pid: 7, comm: "app", caught: 1, pending: 1}
	proc.setProcess(app)
	p := proc.byName("app", Options{Signal: unix.SIGHUP, Check: true, Interval: interval}, func() {})
	notify := func(generation uint64) (end time.Time, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		err = p.Notify(ctx, notifier.Changes{Generation: generation})
		return interval.End(), err
	}
	sent, err := notify(2)
	for generation := range uint64(2) {
		testsupport.WantError(t, err, "SIGHUP is pending")
		var end time.Time
		if end, err = notify(2 + generation); !end.Equal(sent) {
			t.Errorf("the interval started again %v after the signal", end.Sub(sent))
		}
	}
	app.pending = 0
	proc.setProcess(app)
	if end, err := notify(3); err != nil || !end.After(sent) {
		t.Errorf("error %v, interval until %v, want a new interval after %v", err, end, sent)
	}
}
