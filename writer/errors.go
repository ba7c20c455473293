package writer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
)

// Reason puts an error of Publish in one of a few words, for a metric.
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
// says what is left and not what was needed: that would tell how long the
// values are.
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

// warn says, with what in constant words, that something failed that takes
// nothing from the app, and has it tried again. It says so once, until all could
// be tidied.
func (w *Writer) warn(what, path string, err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.untidy = true
		w.wakeRun()
		level := slog.LevelWarn
		if w.said[what+path] || len(w.said) >= maxForeign {
			level = slog.LevelDebug
		}
		w.said[what+path] = true
		w.log.Log(context.Background(), level, what, "path", path, "err", err)
	}
}
