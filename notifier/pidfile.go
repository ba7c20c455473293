package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// pidFileMost is the size of a PID file at most. The number is in the first
// line; PostgreSQL has seven more.
const pidFileMost = 4 << 10

// pidFileSlack is by how much a process may seem younger than the PID file that
// names it. The file's time is of the wall clock, the process's of the clock
// since boot: a step of the first between the two must not matter.
const pidFileSlack = time.Minute

// fileState tells one state of a file from another.
type fileState struct {
	dev, ino uint64
	size     int64
	changed  unix.Timespec
}

// stateOf returns the zero state when there is no file, or none that can be seen.
func stateOf(path string) fileState {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return fileState{}
	}
	return fileState{uint64(st.Dev), st.Ino, st.Size, st.Mtim}
}

// findByFile returns the process whose number is in the file.
func (t *Process) findByFile() (process, error) {
	// Before the read: what changes after this line ends the next Wake.
	t.pidFile = stateOf(t.opts.PIDFile)
	pid, err := t.readPIDFile()
	if err != nil {
		return process{}, err
	}
	p, err := t.proc.read(pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return p, failed("stale", "PID file %q: there is no process %d (is it left over, or a number of another container's PID namespace? shareProcessNamespace: true)", t.opts.PIDFile, pid)
	case err != nil:
		return p, err
	case p.pid == t.self:
		return p, failed("self", "PID file %q: %d is this process", t.opts.PIDFile, pid)
	case p.tgid != p.pid || p.kernel:
		return p, failed("thread", "PID file %q: %v is a thread, not a process", t.opts.PIDFile, p)
	case p.zombie:
		return p, failed("stale", "PID file %q: process %v has ended", t.opts.PIDFile, p)
	case t.startedAfter(p):
		// A program writes the file after its start. One that started later got
		// the number of one that is gone.
		return p, failed("reused", "PID file %q: process %v started after the file was written: the number was reused", t.opts.PIDFile, p)
	}
	return p, nil
}

func (t *Process) startedAfter(p process) bool {
	written := time.Unix(t.pidFile.changed.Unix())
	return time.Now().Add(-t.age(p)).After(written.Add(pidFileSlack))
}

// readPIDFile opens the file anew each time, and only waits for none: a FIFO
// that nobody writes to would hold an open or a read for ever.
func (t *Process) readPIDFile() (int, error) {
	path := t.opts.PIDFile
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, fmt.Errorf("PID file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, failed("no file", "PID file %q is no regular file but %v", path, info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, pidFileMost+1))
	if err != nil {
		return 0, err
	}
	return parsePID(path, data)
}

// parsePID takes a number above 1 in the first line. The text is not in the
// error: the path may be a wrong one, and of any file.
func parsePID(path string, data []byte) (int, error) {
	if len(data) > pidFileMost {
		return 0, failed("too long", "PID file %q has more than %d bytes: it is no PID file", path, pidFileMost)
	}
	line, _, _ := bytes.Cut(bytes.TrimLeft(data, " \t\r\n"), []byte("\n"))
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return 0, failed("empty", "PID file %q is empty", path)
	}
	pid, err := strconv.ParseInt(string(line), 10, 32)
	if err != nil {
		return 0, failed("no number", "PID file %q does not begin with a number", path)
	}
	if pid <= 1 {
		return 0, failed("no number", "PID file %q: %d is not a number above 1", path, pid)
	}
	return int(pid), nil
}

// Wake returns true when the PID file is not what the last Tell read. Without
// inotify (fs.inotify.max_user_instances is 128 per user and node) the backoff
// does it alone.
func (t *Process) Wake(ctx context.Context) bool {
	if t.opts.PIDFile == "" {
		return false
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.opts.Logger.Debug("cannot watch for the PID file", "err", err)
		return false
	}
	defer watcher.Close()
	next, ok := watchNearest(watcher, filepath.Clean(t.opts.PIDFile))
	// After the watch stands, so that no change falls between Tell and it.
	if stateOf(t.opts.PIDFile) != t.pidFile {
		return true
	}
	for ok {
		select {
		case <-ctx.Done():
			return false
		case event, open := <-watcher.Events:
			if open && event.Name == next {
				return true
			}
			ok = open
		case _, ok = <-watcher.Errors: // an overflow: look
			return ok
		}
	}
	return false
}

// watchNearest watches the file's directory, or the nearest one above it that
// exists (/run, before the app made /run/app). next is the entry in it on the
// way to the file.
func watchNearest(watcher *fsnotify.Watcher, path string) (next string, ok bool) {
	for next = path; ; next = filepath.Dir(next) {
		dir := filepath.Dir(next)
		err := watcher.Add(dir)
		if err == nil {
			return next, true
		}
		if !errors.Is(err, os.ErrNotExist) || dir == next {
			return next, false
		}
	}
}
