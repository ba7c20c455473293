// Package usage reads the resource usage of a process from /proc on Linux: its memory,
// its processor time and the number of wake-ups of its threads. Each result is a snapshot.
// The package knows nothing about the process or the measurement.
package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Memory is the memory of a process according to the kernel, in bytes.
type Memory struct {
	RSS, Anonymous int64
	Peak           int64 // the largest RSS since the start
	PSS            int64 // -1: the user is not allowed to read it
	Threads        int
}

// MemoryOf returns the current memory of a process.
func MemoryOf(pid int) (m Memory, err error) {
	status, err := fields(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	m = Memory{
		RSS: status["VmRSS"] << 10, Anonymous: status["RssAnon"] << 10, Peak: status["VmHWM"] << 10,
		Threads: int(status["Threads"]), PSS: -1,
	}
	if rollup, err := fields(fmt.Sprintf("/proc/%d/smaps_rollup", pid)); err == nil {
		m.PSS = rollup["Pss"] << 10
	}
	return m, nil
}

// fields reads the numbers of a file with lines such as "Name: 12 kB".
func fields(path string) (map[string]int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		if words := strings.Fields(rest); len(words) > 0 {
			if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
				all[name] = n
			}
		}
	}
	return all, nil
}

// Activity is the activity of a process since its start.
type Activity struct {
	Switches int64 // voluntary context switches: a thread slept and was woken
	CPU      time.Duration
}

// tick is the unit of /proc/PID/stat: USER_HZ, 100 on every Linux.
const tick = 10 * time.Millisecond

// ActivityOf returns the activity of a process up to now.
func ActivityOf(pid int) (a Activity, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return a, err
	}
	for _, t := range tasks {
		status, err := fields(t)
		if err != nil {
			return a, err
		}
		a.Switches += status["voluntary_ctxt_switches"]
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return a, err
	}
	_, after, _ := strings.Cut(string(b), ") ")
	words := strings.Fields(after)
	if len(words) < 13 {
		return a, fmt.Errorf("read /proc/%d/stat: %q", pid, b)
	}
	for _, w := range words[11:13] { // utime, stime
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return a, err
		}
		a.CPU += time.Duration(n) * tick
	}
	return a, nil
}

// ChildNamed returns the PID of the child of this process with this name.
func ChildNamed(name string) (pid int, err error) {
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range all {
		b, _ := os.ReadFile(path) // the process may have ended
		before, after, _ := strings.Cut(string(b), ") ")
		words := strings.Fields(after)
		number, comm, _ := strings.Cut(before, " (")
		if len(words) > 1 && comm == name && words[1] == strconv.Itoa(os.Getpid()) {
			return strconv.Atoi(number)
		}
	}
	return 0, fmt.Errorf("no child process %s", name)
}

// MB formats a size in units of a million bytes, like all sizes of the measurements.
func MB(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/1e6) }
