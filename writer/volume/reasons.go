package volume

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrTooLarge is returned for a file too large for a later start. It is a record, because a Secret is smaller.
var ErrTooLarge = errors.New("too many keys: the record would exceed 4 MiB")

// errNoSymlinks is returned for a symbolic link on a file system such as vfat.
var errNoSymlinks = errors.New("the file system of the volume may not support symbolic links")

// reasons are the classes of errors, with the remedy for each.
var reasons = []struct {
	name   string
	errs   []error
	remedy string
}{
	{"volume", []error{ErrUnusable}, ""},
	{"no_space", []error{unix.ENOSPC, unix.EDQUOT}, "raise the emptyDir's sizeLimit or the quota"},
	{"read_only", []error{unix.EROFS},
		"the volume is mounted read-only in this container; remove readOnly from its volumeMount"},
	{"no_symlinks", []error{errNoSymlinks}, "use an emptyDir, or a file system with symbolic links"},
	{"permission", []error{unix.EPERM, unix.EACCES},
		fmt.Sprintf("this process has UID %d, and another UID owns the files; only their owner "+
			"can replace them in a sticky volume (medium: Memory), so run the init container with the "+
			"same UID", os.Geteuid())},
	{"too_many_files", []error{unix.EMFILE, unix.ENFILE},
		"the process or the node has no file descriptor left; raise the limit of open files (ulimit -n)"},
	{"io", []error{unix.EIO}, "the disk of the volume reports errors"},
	{"too_large", []error{ErrTooLarge}, "select fewer Secrets or keys"},
}

// Reason classifies an error of a publish in a single word, for a metric.
func Reason(err error) string {
	reason, _ := classify(err)
	return reason
}

func classify(err error) (reason, remedy string) {
	for _, r := range reasons {
		if isAny(err, r.errs...) {
			return r.name, r.remedy
		}
	}
	return "other", ""
}

// NoSpace reports whether err means that the volume is full.
func NoSpace(err error) bool { return Reason(err) == "no_space" }

// Explain adds the remedy to an error. For a full volume it names the free space but
// not the required space, which would reveal the length of the values.
func (v Volume) Explain(err error) error {
	_, remedy := classify(err)
	if NoSpace(err) {
		bytes, inodes, _ := v.Free()
		remedy = fmt.Sprintf("only %d KiB and %d inodes are free for another generation; %s", bytes>>10, inodes, remedy)
	}
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, remedy)
}
