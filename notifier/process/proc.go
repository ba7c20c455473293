package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procfs reads processes from /proc.
type procfs struct {
	root   string               // "/proc", another one in tests
	uptime func() time.Duration // since boot
}

var systemProc = procfs{root: "/proc", uptime: uptime}

// process is the state of a process at one look.
type process struct {
	pid, tgid, ppid int
	comm            string // at most 15 bytes
	argv            []string
	start           time.Duration // after boot, to 10 ms
	renamed         time.Duration // after boot: not under its present name before; see ByName
	uid             int           // the real one
	caught, ignored uint64        // masks: bit n-1 is signal n
	masks           bool          // caught and ignored are known; gVisor shows neither
	zombie, kernel  bool
}

// hertz is the unit of times in /proc/PID/stat: USER_HZ, a constant of the
// kernel's interface on every architecture that Go has.
const hertz = 100

// uptime is the clock of the start times in /proc, suspended time included. It is
// not /proc/uptime, where lxcfs shows the age of the container.
func uptime() time.Duration {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // cannot fail: every kernel that Go runs on has it
	return time.Duration(now.Nano())
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.comm) }

func (fs procfs) age(p process) time.Duration { return fs.uptime() - max(p.start, p.renamed) }

// all returns the processes that can be seen, by number. It leaves out one that
// ends meanwhile.
func (fs procfs) all() (out []process, err error) {
	entries, err := os.ReadDir(fs.root)
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, err := fs.read(pid); err == nil {
				out = append(out, p)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].pid < out[j].pid })
	return out, err
}

// read returns one process. Its error is ENOENT when there is none with this number,
// or ESRCH when it ended after a file was opened.
func (fs procfs) read(pid int) (process, error) {
	p := process{pid: pid}
	for _, file := range []struct {
		name  string
		parse func([]byte) error
	}{{"stat", p.parseStat}, {"status", p.parseStatus}, {"cmdline", p.parseCmdline}} {
		data, err := os.ReadFile(filepath.Join(fs.root, strconv.Itoa(pid), file.name))
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

// parseStat takes "7 (comm) S ppid …"; comm may hold anything, ") S 1" too, so
// the last parenthesis ends it. See proc_pid_stat(5).
func (p *process) parseStat(data []byte) error {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return errFormat
	}
	p.comm = string(data[open+1 : end])
	fields := strings.Fields(string(data[end+1:])) // from field 3 of the manual on
	if len(fields) < 20 {
		return errFormat
	}
	ppid, err1 := strconv.Atoi(fields[1])
	flags, err2 := strconv.ParseUint(fields[6], 10, 64)
	start, err3 := strconv.ParseInt(fields[19], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	const kernelThread = 0x00200000 // PF_KTHREAD
	p.ppid, p.kernel = ppid, flags&kernelThread != 0
	p.zombie = strings.Contains("ZXx", fields[0])
	p.start = time.Duration(start) * (time.Second / hertz)
	return nil
}

// parseStatus takes lines of "Name:\tvalue…".
func (p *process) parseStatus(data []byte) (err error) {
	p.tgid = p.pid // where there is no such line
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		value, _, _ = strings.Cut(strings.TrimSpace(value), "\t")
		switch key {
		case "Tgid":
			p.tgid, err = strconv.Atoi(value)
		case "Uid": // real, effective, saved, of the file system
			p.uid, err = strconv.Atoi(value)
		case "SigIgn":
			p.ignored, err = strconv.ParseUint(value, 16, 64)
		case "SigCgt":
			p.caught, err = strconv.ParseUint(value, 16, 64)
			p.masks = true
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// parseCmdline takes arguments that each end in a zero byte. A program that
// changed its title has a single one, with zeroes or spaces behind it.
func (p *process) parseCmdline(data []byte) error {
	if text := strings.TrimRight(string(data), "\x00 "); text != "" {
		p.argv = strings.Split(text, "\x00")
	}
	return nil
}
