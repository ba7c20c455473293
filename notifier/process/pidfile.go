package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

const (
	// pidFileMax is the maximum size of a PID file. PostgreSQL writes seven lines after the number.
	pidFileMax = 4 << 10
	// pidFileSlack is the tolerated difference between the clocks of the file's time and of start times.
	pidFileSlack = time.Minute
	// pidFileRetry is the interval between two reads of a file while it names no process.
	pidFileRetry = 500 * time.Millisecond
)

// findByFile returns the process named by the PID file.
func (t *Target) findByFile() (process, error) {
	pid, written, err := t.readFile()
	if err != nil {
		return process{}, err
	}
	p, err := t.proc.read(pid)
	seen := tree{pid: p}
	t.observe(seen)
	switch started := time.Now().Add(p.start - t.proc.uptime()); {
	case err != nil || p.inert:
		return p, t.fileError("stale", "process %d does not exist, has ended or is a thread; "+
			"the file may be stale, or the Pod's spec lacks shareProcessNamespace: true", pid)
	case p.pid == t.self:
		return p, t.fileError("self", "%d is secret-sync itself", pid)
	case !t.proc.inPod(p.pid):
		return p, t.fileError("other Pod", "process %v belongs to another Pod", p)
	case started.After(written.Add(pidFileSlack)): // a program writes the file after its start
		return p, t.fileError("reused", "process %v started after the file was written, so the PID was reused", p)
	}
	return seen[pid], nil
}

// readFile returns the PID in the first line of the file and the time of its last change. It never blocks on
// a FIFO. Its errors do not contain the text, because the path may name an unrelated file.
func (t *Target) readFile() (pid int, written time.Time, err error) {
	f, err := os.OpenFile(t.opts.PIDFile, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, written, t.fileError("open", "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, written, t.fileError("no file", "not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, pidFileMax+1))
	if err == nil {
		pid, err = t.parsePID(data)
	}
	return pid, info.ModTime(), err
}

func (t *Target) parsePID(data []byte) (int, error) {
	line, _, _ := bytes.Cut(bytes.TrimSpace(data), []byte("\n"))
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 32)
	switch {
	case len(data) > pidFileMax:
		return 0, t.fileError("too long", "more than %d bytes; not a PID file", pidFileMax)
	case err != nil || pid <= 1:
		return 0, t.fileError("no number", "the file does not begin with a number above 1")
	}
	return int(pid), nil
}

func (t *Target) fileError(kind, format string, args ...any) error {
	f := notifier.Failf(kind, "PID file %q: %w", t.opts.PIDFile, fmt.Errorf(format, args...))
	f.RetryWithin = pidFileRetry
	return f
}
