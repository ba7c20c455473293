package process

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// ByName notifies the process of a name.
type ByName struct {
	sender
	name string
	// otherName has the time when a process was last seen under another name. exec
	// keeps number and start time: a shell that waited for a database and then
	// execs the app is hours old, and the app in it milliseconds. The app counts as
	// no older than the last look that saw the shell.
	otherName map[identity]time.Duration
}

// identity distinguishes a process from a later one with its number.
type identity struct {
	pid   int
	start time.Duration
}

// NewByName returns a target that looks for the process at each Notify. The name
// is the process's comm, or the base of its argv[0] or of its script.
func NewByName(name string, opts Options) *ByName {
	t := &ByName{sender: newSender(opts), name: name}
	t.confirm = func(p process) bool { return p.is(t.name) }
	t.find = func() (process, error) {
		seen, err := t.proc.all()
		if err != nil {
			return process{}, err
		}
		t.noteNames(seen)
		return t.choose(seen)
	}
	return t
}

// noteNames sets the renamed time of the processes that match.
func (t *ByName) noteNames(seen []process) {
	now, next := t.proc.uptime(), map[identity]time.Duration{}
	for i, p := range seen {
		id := identity{p.pid, p.start}
		if !p.is(t.name) {
			next[id] = now
		} else if last, ok := t.otherName[id]; ok {
			next[id], seen[i].renamed = last, last
		}
	}
	t.otherName = next
}

// choose returns the one process that is meant: of those that match, the old
// enough ones, or when there are none the young ones; and of the old ones the one
// from which all others descend.
//
// Young ones do not count beside old ones because the kubelet's probes and
// people with a shell run the app's own program for moments.
func (t *ByName) choose(seen []process) (process, error) {
	var old, young, others []process
	all := parents{}
	for _, p := range seen {
		all[p.pid] = p.ppid
	}
	ancestors := all.lineage(t.self)
	for _, p := range seen {
		// PID 1 is "pause", whatever its name, if no container's process descends
		// from it. If it ends, the Pod ends. A PID 1 that is our ancestor is the app of
		// a container that has both.
		sandbox := p.pid == 1 && !slices.Contains(ancestors, 1)
		switch {
		case p.zombie || p.kernel: // cannot take a signal
		case slices.Contains(all.lineage(p.pid), t.self): // this process, or what an exec target started
		case p.is(t.name) && !sandbox && t.proc.age(p) >= t.opts.MinAge:
			old = append(old, p)
		case p.is(t.name) && !sandbox:
			young = append(young, p)
		case !slices.Contains(ancestors, p.pid):
			others = append(others, p)
		}
	}
	switch {
	case len(old) > 0:
		return t.root(all, old)
	case len(young) > 0:
		return slices.MaxFunc(young, func(a, b process) int { return cmp.Compare(t.proc.age(a), t.proc.age(b)) }), nil
	case len(others) > 0:
		return process{}, notifier.Failf("no match", "no process is named %q; seen: %s", t.name, list(others, process.String))
	}
	return process{}, notifier.Failf("alone", "no process is named %q: only this container's processes can be seen; "+
		"the Pod's spec needs shareProcessNamespace: true", t.name)
}

// root returns the match from which all others descend, also through processes
// that do not match: a parent and its workers. Two matches of which neither
// descends from a match are unrelated.
func (t *ByName) root(all parents, matches []process) (process, error) {
	isMatch := func(pid int) bool {
		return slices.ContainsFunc(matches, func(p process) bool { return p.pid == pid })
	}
	roots := slices.DeleteFunc(slices.Clone(matches), func(p process) bool {
		return slices.ContainsFunc(all.lineage(p.pid)[1:], isMatch)
	})
	if len(roots) == 1 {
		return roots[0], nil
	}
	return process{}, notifier.Failf("several",
		"%d unrelated processes are named %q: %s; use SECRETSYNC_PID_FILE, or a name that only one has",
		len(roots), t.name, list(roots, func(p process) string {
			return fmt.Sprintf("pid %d (%s, parent %d, age %v)", p.pid, p.comm, p.ppid, t.proc.age(p).Round(time.Second))
		}))
}

// parents has the number of each process's parent, at one look.
type parents map[int]int

// lineage returns the numbers of a process, its parent, that one's parent and so on.
func (all parents) lineage(pid int) []int {
	pids := []int{pid}
	for range all { // parents that change during a look can form a ring
		if parent, ok := all[pid]; ok {
			pids, pid = append(pids, parent), parent
		}
	}
	return pids
}

// list joins at most ten. Arguments are never shown: people put passwords there.
func list(ps []process, show func(process) string) string {
	const most = 10
	var parts []string
	for _, p := range ps[:min(most, len(ps))] {
		parts = append(parts, show(p))
	}
	if more := len(ps) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}
