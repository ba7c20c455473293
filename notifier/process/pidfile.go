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
	// pidFileMax is the maximum size of a PID file. The number is in the first line;
	// PostgreSQL writes seven more lines.
	pidFileMax = 4 << 10
	// pidFileSlack is the tolerated difference between the wall clock, which the file's
	// time uses and which may be changed, and the clock of start times.
	pidFileSlack = time.Minute
	// pidFileRetry is the interval between two reads of a file while it names no
	// process. The app may write it at any time, and reading is cheap.
	pidFileRetry = 500 * time.Millisecond
)

// ByPIDFile notifies the process whose PID is in a file. Each Notify reads the file.
type ByPIDFile struct {
	*sender
	path string
}

// NewByPIDFile returns a target. The first line of the file must contain the PID in the
// PID namespace of this process, so the Pod needs shareProcessNamespace.
func NewByPIDFile(path string, opts Options) *ByPIDFile {
	t := &ByPIDFile{sender: newSender(opts), path: path}
	t.find = t.findByFile
	t.confirm = func(_, now process) bool { // the file may have been replaced or completed
		pid, _, err := t.readFile()
		return err == nil && pid == now.pid
	}
	return t
}

func (t *ByPIDFile) findByFile() (process, error) {
	pid, written, err := t.readFile()
	if err != nil {
		return process{}, err
	}
	p, err := t.proc.read(pid)
	switch started := time.Now().Add(p.start - t.proc.uptime()); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return p, t.fail("stale", "process %d does not exist; the file may be stale, or the Pod's spec lacks shareProcessNamespace: true", pid)
	case err != nil:
		return p, err
	case p.pid == t.self:
		return p, t.fail("self", "%d is secret-sync itself", pid)
	case p.tgid != p.pid || p.kernel:
		return p, t.fail("thread", "%v is a thread, not a process", p)
	case p.zombie:
		return p, t.fail("stale", "process %v has ended", p)
	case !t.proc.inPod(p.pid):
		return p, t.fail("other Pod", "process %v belongs to another Pod", p)
	case started.After(written.Add(pidFileSlack)): // a program writes the file after its start
		return p, t.fail("reused", "process %v started after the file was written, so the PID was reused", p)
	}
	seen := []process{p}
	t.observe(seen, func(process) bool { return true })
	return seen[0], nil
}

// readFile returns the PID in the file and the time at which the file was written. It
// never blocks, even if the path names a FIFO without a writer.
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
		return 0, written, t.fail("no file", "not a regular file but %v", info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, pidFileMax+1))
	if err == nil {
		pid, err = t.parse(data)
	}
	return pid, info.ModTime(), err
}

// parse returns the number in the first line, which must be greater than 1. Its errors do
// not contain the text, because the path may name an unrelated file.
func (t *ByPIDFile) parse(data []byte) (int, error) {
	line, _, _ := bytes.Cut(bytes.TrimSpace(data), []byte("\n"))
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 32)
	switch {
	case len(data) > pidFileMax:
		return 0, t.fail("too long", "more than %d bytes; not a PID file", pidFileMax)
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
