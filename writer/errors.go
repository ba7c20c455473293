package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
)

// errTooLarge is returned for a record too large for a later start.
var errTooLarge = errors.New("too many keys: the record would exceed 4 MiB")

// Reason classifies an error of Publish in a single word, for a metric.
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
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too_many_files"
	case errors.Is(err, syscall.EIO):
		return "io"
	case errors.Is(err, errTooLarge):
		return "too_large"
	default:
		return "other"
	}
}

// explain adds the remedy to an error. For a full volume it names the free space but
// not the required space, which would reveal the length of the values.
func (w *Writer) explain(err error) error {
	var remedy string
	switch Reason(err) {
	case "no_space":
		bytes, inodes, _ := w.vol.Free()
		remedy = fmt.Sprintf("only %d KiB and %d inodes are free for another generation; raise the emptyDir's sizeLimit or the quota", bytes>>10, inodes)
	case "read_only":
		remedy = "the volume is mounted read-only in this container; remove readOnly from its volumeMount"
	case "permission":
		remedy = fmt.Sprintf("this process has UID %d, and another UID owns the files; only their owner can replace them in a sticky volume "+
			"(medium: Memory), so run the init container with the same UID", os.Geteuid())
	case "too_many_files":
		remedy = "the process or the node has no file descriptor left; raise the limit of open files (ulimit -n)"
	case "io":
		remedy = "the disk of the volume reports errors"
	case "too_large":
		remedy = "select fewer Secrets or keys"
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, remedy)
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// isCanceled reports whether err is the end of the caller's context.
func isCanceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

const (
	foreignEntry = "leaving unknown entry in the volume"
	maxWarned    = 64 // remembered warnings
)

// warnOnce logs a warning for path unless it has already done so. A complete repair
// resets all warnings except those about foreign entries.
func (w *Writer) warnOnce(msg, path string, args ...any) {
	level := slog.LevelDebug
	if _, done := w.warned[msg+path]; !done && len(w.warned) < maxWarned {
		w.warned[msg+path] = msg == foreignEntry
		level = slog.LevelWarn
	}
	w.log.Log(context.Background(), level, msg, append(args, "path", path)...)
}
