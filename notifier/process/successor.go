package process

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/secret-sync/secret-sync/notifier"
)

// A relation is the relation of a process to its parent, which runs the same program.
type relation int

const (
	worker   relation = iota // works for the parent
	executed                 // called exec, or was forked before its parent did
	heir                     // called exec with additional variables
	unknown                  // /proc does not show whether it called exec
)

// successor returns the process that replaces root, or root if there is none.
//
// A graceful restart (USR2 in gunicorn, unicorn and nginx, Go's tableflip) starts a
// successor as a child. Unlike a worker, the successor executes the program again and
// starts workers of its own. A single heir without workers can be either, so the result
// is an error. Several of them are workers: a successor is alone.
func (t *ByName) successor(root process, matches []process) (process, error) {
	var leaders []process // heirs with workers
	var heirs, doubtful int
	for _, p := range matches {
		if p.ppid != root.pid || p.role() != root.role() {
			continue
		}
		leads := slices.ContainsFunc(matches, func(q process) bool { return q.ppid == p.pid })
		switch relation := t.proc.relation(p, root); {
		case leads && (relation == heir || relation == executed):
			leaders = append(leaders, p)
		case leads && relation == unknown:
			doubtful++
		case relation == heir:
			heirs++
		}
	}
	switch {
	case len(leaders) == 1 && doubtful == 0:
		return t.successor(leaders[0], matches)
	case len(leaders) == 0 && doubtful == 0 && heirs != 1:
		return root, nil
	}
	return process{}, notifier.Failf("successor", "process %v started another %q, which may replace it or work for it; "+
		"set SECRETSYNC_PID_FILE", root, t.name)
}

// role returns the beginning of the command line, which distinguishes a main process from
// other processes of its program: "nginx: master", "sshd: user".
func (p process) role() string {
	words := strings.Fields(strings.Join(p.argv, " "))
	return strings.Join(words[:min(2, len(words))], " ")
}

// relation determines the relation of p to its parent. If a program executes itself
// again, it passes its sockets in additional variables. The old program keeps its
// workers, whose environment lacks these variables. Workers of Node's cluster module
// call exec too.
func (fs procfs) relation(p, parent process) relation {
	if p.stack == 0 || parent.stack == 0 {
		return unknown
	}
	if p.stack == parent.stack {
		return worker
	}
	own, err1 := fs.variables(p.pid)
	inherited, err2 := fs.variables(parent.pid)
	switch {
	case err1 != nil || err2 != nil:
		return unknown
	case slices.Contains(own, "NODE_CHANNEL_FD"):
		return worker
	case slices.ContainsFunc(own, func(name string) bool { return !slices.Contains(inherited, name) }):
		return heir
	}
	return executed
}

// variables returns the names of the variables with which a process was executed.
func (fs procfs) variables(pid int) (names []string, err error) {
	data, err := fs.file(pid, "environ")
	for entry := range strings.SplitSeq(string(data), "\x00") {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	return names, err
}

var podName = regexp.MustCompile(`pod[0-9a-f_-]{32,36}`)

// inPod reports whether a process belongs to this Pod, as far as its cgroup shows. With
// hostPID, the processes of all Pods and of the node are visible.
//
// In a cgroup namespace, the path of another container of this Pod is relative:
// /../CONTAINER, or /../../CONTAINER/container in CRI-O. Other paths contain the cgroup
// of another Pod or more steps up.
func (fs procfs) inPod(pid int) bool {
	own, ownErr := fs.cgroup("self")
	other, err := fs.cgroup(strconv.Itoa(pid))
	if ownErr != nil || err != nil {
		return true
	}
	pod := podName.FindString(other)
	return pod == podName.FindString(own) && strings.Count(other, "/..") < 3
}

// cgroup returns the path of the last cgroup of a process. With cgroup v2, there is no
// other. With v1, all paths of a container end in the same name.
func (fs procfs) cgroup(pid string) (string, error) {
	data, err := os.ReadFile(filepath.Join(fs.root, pid, "cgroup"))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1], err
}
