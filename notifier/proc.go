package notifier

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

// process is one as it was at one look.
type process struct {
	pid, tgid, ppid int
	comm            string // at most 15 bytes
	argv            []string
	start           time.Duration // after boot, to 10 ms
	uids            [4]int        // real, effective, saved, of the file system
	caught, ignored uint64        // masks: bit n-1 is signal n
	masks           bool          // caught and ignored are known; gVisor tells neither
	zombie, kernel  bool
}

// hertz is the unit of times in /proc/PID/stat: USER_HZ, a constant of the
// kernel's interface on every architecture that Go has.
const hertz = 100

// uptime is the clock of the start times in /proc, suspended time included. Not
// /proc/uptime, where lxcfs shows the age of the container.
func uptime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0 // cannot be: every kernel that Go runs on has it
	}
	return time.Duration(now.Nano())
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.comm) }

// all returns the processes that can be seen. One that ends meanwhile is left
// out.
func (fs procfs) all() ([]process, error) {
	dir, err := os.Open(fs.root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := fs.read(pid); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

// read returns one process; fs.ErrNotExist when there is none with this number.
func (fs procfs) read(pid int) (process, error) {
	p := process{pid: pid}
	for _, part := range []struct {
		name  string
		most  int64
		parse func(*process, []byte) error
	}{
		{"stat", 4 << 10, (*process).parseStat},
		{"status", 16 << 10, (*process).parseStatus},
		// One argument has up to 128 KB (a class path), and the name is behind it.
		{"cmdline", 256 << 10, (*process).parseCmdline},
	} {
		data, err := readSome(filepath.Join(fs.root, strconv.Itoa(pid), part.name), part.most)
		if err != nil {
			return p, err
		}
		if err := part.parse(&p, data); err != nil {
			return p, fmt.Errorf("read %s of process %d: %w", part.name, pid, err)
		}
	}
	return p, nil
}

// readSome reads at most so many bytes of a file.
func readSome(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	if errors.Is(err, unix.ESRCH) { // it ended after the open
		return nil, &os.PathError{Op: "read", Path: path, Err: os.ErrNotExist}
	}
	return data, err
}

var errFormat = errors.New("not in the form that is known")

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

// parseStatus takes lines of "Name:\tvalue".
func (p *process) parseStatus(data []byte) error {
	p.tgid = p.pid // where it is not said
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "Tgid":
			p.tgid, err = strconv.Atoi(value)
		case "Uid":
			err = p.parseUIDs(strings.Fields(value))
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

func (p *process) parseUIDs(fields []string) (err error) {
	if len(fields) != len(p.uids) {
		return errFormat
	}
	for i, field := range fields {
		if p.uids[i], err = strconv.Atoi(field); err != nil {
			return err
		}
	}
	return nil
}

// parseCmdline takes arguments that each end in a zero byte. A program that
// re-wrote its title has one, with zeroes or spaces behind it.
func (p *process) parseCmdline(data []byte) error {
	if text := strings.TrimRight(string(data), "\x00 "); text != "" {
		p.argv = strings.Split(text, "\x00")
	}
	return nil
}
