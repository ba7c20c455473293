package process

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/notifier"
)

// ByName notifies the main process with a name.
type ByName struct {
	*sender
	name string
}

// NewByName returns a target for a process name. Each Notify searches for the process
// again. The name is the comm of the process, or the base name of its argv[0], title or
// script.
func NewByName(name string, opts Options) *ByName {
	t := &ByName{sender: newSender(opts), name: name}
	t.find = t.findByName
	t.confirm = func(found, now process) bool {
		return t.matches(now) || now.comm == found.comm && !t.matches(found)
	}
	return t
}

func (t *ByName) matches(p process) bool { return p.is(t.name) }

func (t *ByName) findByName() (process, error) {
	seen, err := t.proc.all()
	if err != nil {
		return process{}, err
	}
	t.observe(seen, t.matches)
	return t.choose(seen)
}

// choose returns the process to signal: the main process among the old enough matches, or
// the oldest match if none is.
//
// Young matches do not count beside an old match, because the kubelet's probes and people
// with a shell run the app's program for moments.
func (t *ByName) choose(seen []process) (process, error) {
	tree := newTree(seen)
	matches, others := t.candidates(tree, seen)
	old := slices.DeleteFunc(slices.Clone(matches), func(p process) bool { return t.proc.age(p) < t.opts.MinAge })
	switch {
	case len(old) > 0:
		return t.mainProcess(tree, old, matches)
	case len(matches) > 0:
		return slices.MaxFunc(matches, func(a, b process) int { return cmp.Compare(t.proc.age(a), t.proc.age(b)) }), nil
	case len(others) > 0:
		return process{}, notifier.Failf("no match", "no process is named %q; found: %s", t.name, list(others, process.allNames))
	case t.proc.hidesProcesses():
		return process{}, notifier.Failf("alone", "no process is named %q: /proc is mounted with hidepid, "+
			"which hides the processes of other users", t.name)
	}
	return process{}, notifier.Failf("alone", "no process is named %q: only the processes of this container are visible; "+
		"set shareProcessNamespace: true in the Pod's spec", t.name)
}

// candidates returns the processes that match and may be signaled, and the other
// processes of the Pod's apps.
//
// PID 1 is the sandbox ("pause"), whatever its name, unless it is an ancestor of this
// process. The Pod ends with the sandbox. In a container with both, an ancestor is the
// app.
func (t *ByName) candidates(tree tree, seen []process) (matches, others []process) {
	ancestors := tree.lineage(t.self)
	for _, p := range seen {
		sandbox := p.pid == 1 && !slices.Contains(ancestors, 1)
		switch {
		case p.zombie || p.kernel || !t.proc.inPod(p.pid):
		case slices.Contains(tree.lineage(p.pid), t.self): // this process and its commands
		case t.matches(p) && !sandbox:
			matches = append(matches, p)
		case !slices.Contains(ancestors, p.pid):
			others = append(others, p)
		}
	}
	return matches, others
}

// mainProcess returns the main process of the program of the old matches. It is an
// ancestor of all others, also through processes that do not match.
func (t *ByName) mainProcess(tree tree, old, matches []process) (process, error) {
	var roots []process
	for _, p := range old {
		p = tree.forkedFrom(p)
		isWorker := slices.ContainsFunc(tree.lineage(p.pid)[1:], func(pid int) bool { return contains(old, pid) })
		if !isWorker && !contains(roots, p.pid) {
			roots = append(roots, p)
		}
	}
	if len(roots) == 1 {
		return t.successor(roots[0], matches)
	}
	return process{}, notifier.Failf("several",
		"%d unrelated processes are named %q: %s; set SECRETSYNC_PID_FILE, or a name that only one of them uses",
		len(roots), t.name, list(roots, func(p process) string {
			return fmt.Sprintf("pid %d (%s, parent %d, age %v)", p.pid, p.comm, p.ppid, t.proc.age(p).Round(time.Second))
		}))
}

func contains(all []process, pid int) bool {
	return slices.ContainsFunc(all, func(p process) bool { return p.pid == pid })
}

// A tree contains processes by PID.
type tree map[int]process

func newTree(seen []process) tree {
	all := tree{}
	for _, p := range seen {
		all[p.pid] = p
	}
	return all
}

// lineage returns the PIDs of a process and its ancestors.
func (all tree) lineage(pid int) []int {
	pids := []int{pid}
	for range all { // bounded: if processes change during the read, they can form a ring
		p, ok := all[pid]
		if !ok {
			break
		}
		pids, pid = append(pids, p.ppid), p.ppid
	}
	return pids
}

// forkedFrom returns the ancestor of p that executed its program. Its descendants are
// workers, whatever their titles: they were forked without exec, so their stacks start
// at the same address.
func (all tree) forkedFrom(p process) process {
	for range all {
		parent, ok := all[p.ppid]
		if !ok || p.stack == 0 || parent.stack != p.stack || parent.zombie {
			break
		}
		p = parent
	}
	return p
}

// list joins at most ten processes. It never shows arguments, which may be passwords.
func list(ps []process, show func(process) string) string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = show(p)
	}
	return strings.Join(brief.List(parts), ", ")
}

// hidesProcesses reports whether /proc hides the processes of other users.
func (fs procfs) hidesProcesses() bool {
	mounts, _ := os.ReadFile(fs.root + "/self/mounts")
	return strings.Contains(string(mounts), "hidepid=")
}
