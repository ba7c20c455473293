package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

// A languageRuntime installs signal handlers that the program did not request.
type languageRuntime struct {
	programs []string // base names of argv[0] without a version, or comm
	name     string
	handles  []syscall.Signal // handled without a request of the program; nil: all
	fatal    syscall.Signal   // never useful
	effect   string           // of fatal
}

var runtimes = []languageRuntime{
	{programs: []string{"ruby"}, name: "Ruby", handles: []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}},
	{programs: []string{"php"}, name: "PHP", handles: []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}},
	{programs: []string{"java"}, name: "the JVM", handles: []syscall.Signal{unix.SIGHUP}, fatal: unix.SIGUSR2, effect: "crashes it"},
	{programs: []string{"node", "nodejs"}, name: "Node.js", handles: []syscall.Signal{}, fatal: unix.SIGUSR1, effect: "opens its debugger"},
	{programs: []string{"beam.smp", "erl"}, name: "Erlang", handles: []syscall.Signal{unix.SIGUSR1}},
	{name: "Go"}, // recognized by its executable
}

// runtimeOf returns the runtime of a process, or nil.
func (s *sender) runtimeOf(p process) *languageRuntime {
	programs := []string{p.comm}
	if len(p.argv) > 0 {
		programs = append(programs, path.Base(p.argv[0]))
	}
	for i, r := range runtimes {
		if slices.ContainsFunc(programs, func(name string) bool {
			return slices.Contains(r.programs, strings.TrimRight(name, "0123456789.")) || slices.Contains(r.programs, name)
		}) {
			return &runtimes[i]
		}
	}
	if s.proc.isGo(p.pid) {
		return &runtimes[len(runtimes)-1]
	}
	return nil
}

// isGo reports whether the executable contains the build ID note of the Go linker. It
// returns false if the executable cannot be read, as with another UID or GID.
func (fs procfs) isGo(pid int) bool {
	f, err := os.Open(filepath.Join(fs.root, strconv.Itoa(pid), "exe"))
	if err != nil {
		return false
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(f, 4<<10)) // the notes follow the program headers
	return bytes.Contains(head, []byte("\x04\x00\x00\x00Go\x00\x00"))
}

// checkRuntime rejects a signal if it is fatal for the runtime of the process. If the
// handler may be the runtime's, checkRuntime warns once.
func (s *sender) checkRuntime(p process) error {
	r, signal := s.runtimeOf(p), signalName(s.opts.Signal)
	switch {
	case r == nil:
		return nil
	case r.fatal == s.opts.Signal:
		return notifier.Failf("unsafe signal", "%s is unsafe for process %v: in %s it %s; set SECRETSYNC_SIGNAL to another signal",
			signal, p, r.name, r.effect)
	case r.handles == nil || slices.Contains(r.handles, s.opts.Signal):
		s.warnRuntimeOnce.Do(func() {
			message := fmt.Sprintf("process %v may not handle %s itself: %s installs a handler for every program; "+
				"the program must install its own within SECRETSYNC_PROCESS_MIN_AGE (%v)", p, signal, r.name, s.opts.MinAge)
			s.opts.Logger.Warn("cannot verify the signal handler", "reason", message)
			if s.opts.Warn != nil {
				s.opts.Warn(message)
			}
		})
	}
	return nil
}
