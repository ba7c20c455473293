package writer

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// uncertain contains the states in which a Writer does not know its volume for certain. The last three of the table are
// fields of the content and of the records.
//
//	state       | cause that sets it          | event that clears it      | operations it forbids
//	------------+-----------------------------+---------------------------+--------------------------------
//	unconfirmed | Open: the content was only  | a new generation, or      | treating other values of the
//	            | read from the volume        | unchanged complete        | same version as a change
//	            |                             | content                   |
//	unreachable | Open: ..data leads to no    | ..data was restored       | Newest returning the
//	            | generation                  |                           | generation
//	unsynced    | a change in this directory, | a sync of the directory   | removing old generations, if
//	            | such as a rename of ..data  |                           | the directory is DIR
//	retryAt     | a failure that a repair can | the start of the next     | comparing earlier; relying on
//	            | undo, too many repairs, or  | reconciliation            | the links of the current
//	            | Recheck                     |                           | generation in a publish
//	misreads    | a comparison failed with    | a successful comparison   | replacing the entry, up to the
//	            | EIO                         |                           | third failure in a row
//	Files.      | Open: a read of a file      | another version of its    | a publish or a repair without
//	Unread      | failed                      | Secret                    | the file, unless a later read
//	            |                             |                           | succeeds or shows no file
//	Notified.   | Open: the record of         | none                      | counting a target without a
//	Lost        | notifications was lost      |                           | record as notified
//	Record.     | Open: the record of a flat  | a new generation          | Current, Newest and State
//	Unowned     | generation was lost         |                           | returning the generation
type uncertain struct {
	unconfirmed bool
	unreachable atomic.Bool     // read without the Writer's lock
	unsynced    map[string]bool // directories
	retryAt     time.Time       // zero: nothing to retry
	misreads    map[string]int  // path → failures in a row
}

// syncChanged syncs the directories with changes. After a failure, the next call repeats it.
func (w *Writer) syncChanged() error {
	var errs []error
	for dir := range w.uncertain.unsynced {
		err := w.vol.SyncDir(dir)
		if err == nil || volume.Missing(err) {
			delete(w.uncertain.unsynced, dir)
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// differs reports whether an entry differs from the volume. It returns an error if this is unknown.
func (w *Writer) differs(e generation.Entry) (bool, error) {
	differs, err := w.vol.Differs(e)
	if err == nil {
		delete(w.uncertain.misreads, e.Path)
	} else if errors.Is(err, syscall.EIO) {
		w.uncertain.misreads[e.Path]++
	}
	if w.uncertain.misreads[e.Path] >= volume.MaxMisreads {
		return true, nil
	}
	return differs, err
}

// isDifferent reports whether an entry is known to differ from the volume. If this is
// unknown, it schedules another comparison.
func (w *Writer) isDifferent(e generation.Entry) bool {
	differs, err := w.differs(e)
	w.retryLater("could not compare an entry, will retry", e.Path, err)
	return differs
}

const (
	foreignEntry = "leaving unknown entry in the volume"
	maxWarned    = 64 // remembered warnings, and as many about foreign entries
)

// retryLater logs a failure and schedules a comparison of everything. It ignores nil and the end of a context.
func (w *Writer) retryLater(msg, path string, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	w.scheduleRetry(retryAfter)
	w.warnOnce(msg, path, "err", err)
}

// scheduleRetry schedules a comparison of everything, unless an earlier failure has done so.
func (w *Writer) scheduleRetry(after time.Duration) {
	if w.uncertain.retryAt.IsZero() {
		w.uncertain.retryAt = w.now().Add(after)
		w.arm()
	}
}

// warnOnce logs a warning for path unless it has already done so. A complete repair
// resets all warnings except those about foreign entries.
func (w *Writer) warnOnce(msg, path string, args ...any) {
	level, warned := slog.LevelDebug, w.warned
	if msg == foreignEntry {
		warned = w.foreign
	}
	if !warned[msg+path] && len(warned) < maxWarned {
		warned[msg+path] = true
		level = slog.LevelWarn
	}
	if path == "." {
		path = w.opts.Dir
	}
	w.opts.Logger.Log(context.Background(), level, msg, append(args, "path", path)...)
}
