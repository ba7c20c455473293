//go:build linux

package process

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

type procfs struct {
	root   string               // "/proc", except in tests
	uptime func() time.Duration // time since boot
	// unknown is the last error that says nothing about a process, such as EMFILE. While it is set, the results of
	// the methods are incomplete. The caller resets it.
	unknown error
}

// A process is the state of a process when it was read.
type process struct {
	pid, ppid int
	comm      string // at most 15 bytes
	argv      []string
	start     time.Duration // since boot, to 10 ms
	stack     uint64        // start of the stack, which exec changes; 0: unknown
	uid       int           // real UID
	// Signal masks: bit n-1 is signal n. They are valid if masks is set. gVisor shows none.
	caught, ignored, pending uint64
	masks                    bool
	inert                    bool // a zombie or a thread, which cannot be notified
	// Set by observe.
	matched bool
	execed  time.Duration // since boot; time at which an exec was observed
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.comm) }

// same reports whether q is p at another time. Another process with the PID started later.
func (p process) same(q process) bool { return p.pid == q.pid && p.start == q.start }

// hertz is the unit of times in /proc/PID/stat: USER_HZ, a constant on all architectures of Go.
const hertz = 100

// uptime returns the clock of start times, which includes suspended time. In /proc/uptime, lxcfs shows another clock.
func uptime() time.Duration {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // all kernels supported by Go provide it
	return time.Duration(now.Nano())
}

// age returns the time since the process started, or since its last observed exec.
func (fs *procfs) age(p process) time.Duration { return fs.uptime() - max(p.start, p.execed) }

// examine sets unknown if err says nothing about a process, and returns err.
func (fs *procfs) examine(err error) error {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
		fs.unknown = notifier.Failf("unknown", "cannot read the state of the processes: %w", err)
	}
	return err
}

// fileMax limits a file of a process. Its arguments and environment can have 6 MiB.
const fileMax = 256 << 10

// file returns the beginning of a file of a process.
func (fs *procfs) file(pid any, name string) (string, error) {
	f, err := os.Open(filepath.Join(fs.root, fmt.Sprint(pid), name))
	if err != nil {
		return "", fs.examine(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, fileMax))
	return string(data), fs.examine(err)
}

func (fs *procfs) all() (tree, error) {
	all := tree{}
	entries, err := os.ReadDir(fs.root)
	fs.examine(err)
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, err := fs.read(pid); err == nil {
				all[pid] = p
			}
		}
	}
	return all, cmp.Or(fs.unknown, err)
}

// again reads a process again and reports whether it is still running.
func (fs *procfs) again(p process) (now process, running bool) {
	now, err := fs.read(p.pid)
	return now, err == nil && now.same(p) && !now.inert
}

func (fs *procfs) read(pid int) (process, error) {
	p := process{pid: pid}
	stat, err1 := fs.file(pid, "stat")
	status, err2 := fs.file(pid, "status")
	cmdline, err3 := fs.file(pid, "cmdline")
	if err := cmp.Or(err1, err2, err3); err != nil {
		return p, err
	}
	p.parseStatus(status)
	p.parseCmdline(cmdline)
	return p, p.parseStat(stat)
}

// parseStat parses "7 (comm) S ppid …", see proc_pid_stat(5). The last parenthesis ends comm, which may
// contain any text, such as ") S 1".
func (p *process) parseStat(stat string) error {
	_, rest, _ := strings.Cut(stat, "(")
	end := strings.LastIndexByte(rest, ')')
	fields := strings.Fields(rest[end+1:]) // from field 3 of the manual
	if end < 0 || len(fields) < 26 {
		return errors.New("unknown format")
	}
	var flags, start uint64
	numbers := strings.Join([]string{fields[1], fields[6], fields[19], fields[25]}, " ")
	_, err := fmt.Sscan(numbers, &p.ppid, &flags, &start, &p.stack)
	const kernelThread = 0x00200000 // PF_KTHREAD
	p.comm, p.start = rest[:end], time.Duration(start)*(time.Second/hertz)
	p.inert = p.inert || strings.Contains("ZXx", fields[0]) || flags&kernelThread != 0
	return err
}

// parseStatus parses lines of "Name:\tvalue…".
func (p *process) parseStatus(status string) {
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		value, _, _ = strings.Cut(strings.TrimSpace(value), "\t")
		number, _ := strconv.Atoi(value)
		mask, _ := strconv.ParseUint(value, 16, 64)
		switch key {
		case "Tgid":
			p.inert = number != p.pid
		case "Uid": // real, effective, saved, file system
			p.uid = number
		case "ShdPnd": // not SigPnd, which only tgkill sets
			p.pending = mask
		case "SigIgn":
			p.ignored = mask
		case "SigCgt":
			p.caught, p.masks = mask, true
		}
	}
}

// parseCmdline parses arguments, each with a zero byte at its end. To set its title, a program replaces
// them with a single argument, followed by zeroes or spaces.
func (p *process) parseCmdline(cmdline string) {
	if text := strings.TrimRight(cmdline, "\x00 "); text != "" {
		p.argv = strings.Split(text, "\x00")
	}
}

var podName = regexp.MustCompile(`pod[0-9a-f_-]{32,36}`)

// inPod reports whether a process belongs to this Pod, as far as its cgroup shows. In a cgroup namespace, the path of
// another container of this Pod is relative: /../CONTAINER, or /../../CONTAINER/container in CRI-O. Other paths contain
// the cgroup of another Pod, which is visible with hostPID, or more steps up.
func (fs *procfs) inPod(pid int) bool {
	own, ownErr := fs.file("self", "cgroup")
	other, err := fs.file(pid, "cgroup")
	if ownErr != nil || err != nil {
		return true
	}
	return podName.FindString(other) == podName.FindString(own) && !strings.Contains(other, "/../../..")
}
