package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

const (
	// pidFileMax is the size of a PID file at most. The number is in the first
	// line; PostgreSQL has seven more.
	pidFileMax = 4 << 10
	// pidFileSlack is by how much a process may seem younger than its PID file: the
	// file's time is of the wall clock, which may have been set in between.
	pidFileSlack = time.Minute
	// pidFileRetry is how soon a file that names no process is read again: the app
	// may write it at any moment, and a look costs nothing.
	pidFileRetry = 500 * time.Millisecond
)

// ByPIDFile notifies the process whose number is in a file, which is read anew each
// time.
type ByPIDFile struct {
	sender
	path string
}

// NewByPIDFile returns a target. The file has the number in its first line, as
// this process's PID namespace numbers it: the Pod needs shareProcessNamespace.
func NewByPIDFile(path string, opts Options) *ByPIDFile {
	t := &ByPIDFile{sender: newSender(opts), path: path}
	t.find, t.confirm = t.findByFile, t.isNamed
	return t
}

// isNamed reports whether the file still names the process: it may have been
// replaced, or half written before.
func (t *ByPIDFile) isNamed(p process) bool {
	pid, _, err := t.readFile()
	return err == nil && pid == p.pid
}

func (t *ByPIDFile) findByFile() (process, error) {
	pid, written, err := t.readFile()
	if err != nil {
		return process{}, err
	}
	p, err := t.proc.read(pid)
	switch started := time.Now().Add(-t.proc.age(p)); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return p, t.fail("stale", "there is no process %d (is the file left over, or the number of another container's PID namespace? "+
			"shareProcessNamespace: true)", pid)
	case err != nil:
		return p, err
	case p.pid == t.self:
		return p, t.fail("self", "%d is this process", pid)
	case p.tgid != p.pid || p.kernel:
		return p, t.fail("thread", "%v is a thread, not a process", p)
	case p.zombie:
		return p, t.fail("stale", "process %v has ended", p)
	case started.After(written.Add(pidFileSlack)): // a program writes the file after its start
		return p, t.fail("reused", "process %v started after the file was written: the number was reused", p)
	}
	return p, nil
}

// readFile returns the number in the file and when it was written. It does not
// wait: a FIFO that nobody writes to would block an open or a read for ever.
func (t *ByPIDFile) readFile() (pid int, written time.Time, err error) {
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, written, t.fail("open", "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, written, err
	}
	if !info.Mode().IsRegular() {
		return 0, written, t.fail("no file", "no regular file but %v", info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, pidFileMax+1))
	if err == nil {
		pid, err = t.parse(data)
	}
	return pid, info.ModTime(), err
}

// parse takes a number above 1 in the first line. Its error does not show the
// text: the path may be wrong and name any file.
func (t *ByPIDFile) parse(data []byte) (int, error) {
	line, _, _ := bytes.Cut(bytes.TrimSpace(data), []byte("\n"))
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 32)
	switch {
	case len(data) > pidFileMax:
		return 0, t.fail("too long", "more than %d bytes: it is no PID file", pidFileMax)
	case len(line) == 0:
		return 0, t.fail("empty", "the file is empty")
	case err != nil:
		return 0, t.fail("no number", "the file does not begin with a number")
	case pid <= 1:
		return 0, t.fail("no number", "%d is not a number above 1", pid)
	}
	return int(pid), nil
}

func (t *ByPIDFile) fail(kind, format string, args ...any) error {
	f := notifier.Failf(kind, "PID file %q: %w", t.path, fmt.Errorf(format, args...))
	f.RetryWithin = pidFileRetry
	return f
}
