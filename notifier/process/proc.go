package process

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A procfs reads processes from /proc.
type procfs struct {
	root   string               // "/proc", except in tests
	uptime func() time.Duration // time since boot
}

var systemProc = procfs{root: "/proc", uptime: uptime}

// A process is the state of a process when it was read.
type process struct {
	pid, tgid, ppid int
	comm            string // at most 15 bytes
	argv            []string
	start           time.Duration // since boot, to 10 ms
	execed          time.Duration // since boot; time at which an exec was observed
	stack           uint64        // start of the stack, which exec changes; 0: unknown
	uid             int           // real UID
	// Signal masks: bit n-1 is signal n. They are valid if masks is set. gVisor shows
	// none.
	caught, ignored, pending uint64
	masks                    bool
	zombie, kernel           bool
}

// An identity distinguishes a process from later processes with the same PID.
type identity struct {
	pid   int
	start time.Duration
}

func (p process) id() identity   { return identity{p.pid, p.start} }
func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.comm) }

// hertz is the unit of times in /proc/PID/stat: USER_HZ, a constant on all
// architectures of Go.
const hertz = 100

// uptime returns the clock of the start times in /proc, which includes suspended time.
// /proc/uptime is not suitable: lxcfs shows the age of the container there.
func uptime() time.Duration {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // all kernels supported by Go provide it
	return time.Duration(now.Nano())
}

// age returns the time since the process started, or since its last observed exec.
func (fs procfs) age(p process) time.Duration { return fs.uptime() - max(p.start, p.execed) }

func (fs procfs) file(pid int, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(fs.root, strconv.Itoa(pid), name))
}

// all returns the visible processes, ordered by PID. It omits processes if they end
// meanwhile.
func (fs procfs) all() (all []process, err error) {
	entries, err := os.ReadDir(fs.root)
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, err := fs.read(pid); err == nil {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(a, b process) int { return cmp.Compare(a.pid, b.pid) })
	return all, err
}

// read returns a process. The error is ENOENT if there is no such PID, or ESRCH if the
// process ended meanwhile.
func (fs procfs) read(pid int) (process, error) {
	p := process{pid: pid}
	for _, file := range []struct {
		name  string
		parse func([]byte) error
	}{{"stat", p.parseStat}, {"status", p.parseStatus}, {"cmdline", p.parseCmdline}} {
		data, err := fs.file(pid, file.name)
		if err == nil {
			err = file.parse(data)
		}
		if err != nil {
			return p, fmt.Errorf("read %s of process %d: %w", file.name, pid, err)
		}
	}
	return p, nil
}

var errFormat = errors.New("unknown format")

// parseStat parses "7 (comm) S ppid …", see proc_pid_stat(5). The last parenthesis ends
// comm, which may contain any text, such as ") S 1".
func (p *process) parseStat(data []byte) error {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return errFormat
	}
	p.comm = string(data[open+1 : end])
	fields := strings.Fields(string(data[end+1:])) // from field 3 of the manual
	if len(fields) < 20 {
		return errFormat
	}
	ppid, err1 := strconv.Atoi(fields[1])
	flags, err2 := strconv.ParseUint(fields[6], 10, 64)
	start, err3 := strconv.ParseInt(fields[19], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if len(fields) > 25 {
		p.stack, _ = strconv.ParseUint(fields[25], 10, 64) // startstack; unknown otherwise
	}
	const kernelThread = 0x00200000 // PF_KTHREAD
	p.ppid, p.kernel = ppid, flags&kernelThread != 0
	p.zombie = strings.Contains("ZXx", fields[0])
	p.start = time.Duration(start) * (time.Second / hertz)
	return nil
}

// parseStatus parses lines of "Name:\tvalue…".
func (p *process) parseStatus(data []byte) (err error) {
	p.tgid = p.pid // default if the line is missing
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		value, _, _ = strings.Cut(strings.TrimSpace(value), "\t")
		var mask uint64
		if strings.HasPrefix(key, "Sig") || key == "ShdPnd" {
			mask, _ = strconv.ParseUint(value, 16, 64)
		}
		switch key {
		case "Tgid":
			p.tgid, err = strconv.Atoi(value)
		case "Uid": // real, effective, saved, file system
			p.uid, err = strconv.Atoi(value)
		case "SigPnd", "ShdPnd":
			p.pending |= mask
		case "SigIgn":
			p.ignored = mask
		case "SigCgt":
			p.caught, p.masks = mask, true
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// parseCmdline parses arguments, each with a zero byte at its end. To set its title, a
// program replaces them with a single argument, followed by zeroes or spaces.
func (p *process) parseCmdline(data []byte) error {
	if text := strings.TrimRight(string(data), "\x00 "); text != "" {
		p.argv = strings.Split(text, "\x00")
	}
	return nil
}
