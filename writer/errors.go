package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"syscall"
)

// errTooLarge is returned for a record too large for a later start.
var errTooLarge = errors.New("too many keys: the record would exceed 4 MiB")

// reasons are the classes of errors, with the remedy for each.
var reasons = []struct {
	name   string
	errs   []error
	remedy string
}{
	{"volume", []error{ErrUnusable}, ""},
	{"no_space", []error{syscall.ENOSPC, syscall.EDQUOT}, "raise the emptyDir's sizeLimit or the quota"},
	{"read_only", []error{syscall.EROFS}, "the volume is mounted read-only in this container; remove readOnly from its volumeMount"},
	{"permission", []error{syscall.EPERM, syscall.EACCES}, fmt.Sprintf("this process has UID %d, and another UID owns the files; only their owner "+
		"can replace them in a sticky volume (medium: Memory), so run the init container with the same UID", os.Geteuid())},
	{"too_many_files", []error{syscall.EMFILE, syscall.ENFILE},
		"the process or the node has no file descriptor left; raise the limit of open files (ulimit -n)"},
	{"io", []error{syscall.EIO}, "the disk of the volume reports errors"},
	{"too_large", []error{errTooLarge}, "select fewer Secrets or keys"},
}

// Reason classifies an error of Publish in a single word, for a metric.
func Reason(err error) string {
	reason, _ := classify(err)
	return reason
}

func classify(err error) (reason, remedy string) {
	for _, r := range reasons {
		if slices.ContainsFunc(r.errs, func(class error) bool { return errors.Is(err, class) }) {
			return r.name, r.remedy
		}
	}
	return "other", ""
}

// explain adds the remedy to an error. For a full volume it names the free space but
// not the required space, which would reveal the length of the values.
func (w *Writer) explain(err error) error {
	reason, remedy := classify(err)
	if reason == "no_space" {
		bytes, inodes, _ := w.vol.Free()
		remedy = fmt.Sprintf("only %d KiB and %d inodes are free for another generation; %s", bytes>>10, inodes, remedy)
	}
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, remedy)
}

func noSpace(err error) bool { return Reason(err) == "no_space" }

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
