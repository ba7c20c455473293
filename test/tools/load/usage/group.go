package usage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Group is a cgroup with a CPU limit, like the cgroup of a container.
type Group struct{ dir string }

const root = "/sys/fs/cgroup"

// NewGroup creates a cgroup with a limit in thousandths of a core; 0 means no limit. Like the
// kubelet, it limits the CPU time in each 100 ms. The group precedes other processes of the
// machine, so the limit alone delays it.
func NewGroup(millicores int) (Group, error) {
	quota := millicores * 100 // µs
	name := fmt.Sprintf("secret-sync-load-%d", os.Getpid())
	g := Group{filepath.Join(root, "cpu", name)}
	settings := map[string]string{"cpu.cfs_quota_us": strconv.Itoa(quota), "cpu.shares": "262144"}
	if millicores == 0 {
		settings["cpu.cfs_quota_us"] = "-1"
	}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil { // version 2
		g.dir = filepath.Join(root, name)
		settings = map[string]string{"cpu.max": fmt.Sprintf("%d 100000", quota), "cpu.weight": "10000"}
		if millicores == 0 {
			settings["cpu.max"] = "max"
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+cpu"), 0o644); err != nil {
			return g, err
		}
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return g, fmt.Errorf("create a cgroup: %w; run as root", err)
	}
	for file, value := range settings {
		if err := os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0o644); err != nil {
			return g, errors.Join(err, g.Remove())
		}
	}
	return g, nil
}

// Processes returns the path of the file to which a process writes its PID to enter.
func (g Group) Processes() string { return filepath.Join(g.dir, "cgroup.procs") }

// Remove removes the group. All its processes must have ended.
func (g Group) Remove() error { return os.Remove(g.dir) }

// CPUOf returns the CPU time of a process, in a finer unit than ActivityOf.
func CPUOf(pid int) (total time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		used, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(used, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		total += time.Duration(n)
	}
	return total, nil
}
