package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
)

// Reason gives an error of Publish as one of a few words, for a metric.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrUnusable):
		return "volume"
	case noSpace(err):
		return "no_space"
	case errors.Is(err, syscall.EROFS):
		return "read_only"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return "permission"
	case errors.Is(err, syscall.EIO):
		return "io"
	default:
		return "other"
	}
}

// explain adds to an error of the volume what to do about it. For a full one it
// says what is free and not what was needed: that would show how long the values
// are.
func (w *Writer) explain(err error) error {
	var hint string
	switch Reason(err) {
	case "no_space":
		bytes, inodes, _ := w.vol.Free()
		hint = fmt.Sprintf("%d KiB and %d inodes are free, which one more generation does not fit in, besides the one that apps read: raise the emptyDir's sizeLimit, or the quota", bytes>>10, inodes)
	case "read_only":
		hint = "the volume is mounted read-only here: remove readOnly from this container's volumeMount"
	case "permission":
		hint = fmt.Sprintf("this process is UID %d, and files of another UID are in its way: in a sticky volume (medium: Memory) only their owner can replace them, so let an init container run as the same UID", os.Geteuid())
	case "io":
		hint = "the disk below the volume reports errors"
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// retryLater logs a failure that takes nothing from the app, with what in
// constant words, and has all compared again later.
func (w *Writer) retryLater(what, path string, err error) {
	if err == nil {
		return
	}
	if w.again.IsZero() {
		w.again = w.opts.now().Add(tryAgain)
		w.arm()
	}
	w.warnOnce(what, path, "err", err)
}

const (
	notOurs   = "an entry in the volume is not of secret-sync: it stays"
	maxWarned = 64 // warnings that are remembered
)

// warnOnce warns once of an entry of others, and of a failure until all was put
// right.
func (w *Writer) warnOnce(what, path string, args ...any) {
	level := slog.LevelDebug
	if _, done := w.warned[what+path]; !done && len(w.warned) < maxWarned {
		w.warned[what+path] = what == notOurs
		level = slog.LevelWarn
	}
	w.log.Log(context.Background(), level, what, append(args, "path", path)...)
}
