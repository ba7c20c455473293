package process

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
)

// ByName is a notifier.Target: the process of a name.
type ByName struct {
	sender
	name string
	// otherName has the time when a process was last seen under another name. exec
	// keeps number and start time: a shell that waited for a database and then
	// execs the app is hours old, and the app in it milliseconds. The app counts as
	// no older than the last look that saw the shell, and there are many while the
	// app is not there. Processes that ended are dropped at each look.
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
	return &ByName{sender: newSender(opts), name: name}
}

// Notify finds the process and signals it if that is safe.
func (t *ByName) Notify(context.Context, notifier.Changes) error {
	seen, err := t.proc.all()
	if err != nil {
		return err
	}
	found, err := t.find(seen)
	if err != nil {
		return err
	}
	return t.send(found, t.matches)
}

func (t *ByName) matches(p process) bool { return p.is(t.name) }

func (t *ByName) find(seen []process) (process, error) {
	t.noteNames(seen)
	return t.choose(seen)
}

// noteNames sets the renamed time of the processes that match.
func (t *ByName) noteNames(seen []process) {
	now, next := t.proc.uptime(), map[identity]time.Duration{}
	for i := range seen {
		p := &seen[i]
		id := identity{p.pid, p.start}
		if !t.matches(*p) {
			next[id] = now
		} else if last, ok := t.otherName[id]; ok {
			next[id], p.renamed = last, last
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
	all := newTable(seen)
	var old, young []process
	for _, p := range seen {
		switch {
		case !t.allowed(all, p) || !t.matches(p):
		case t.proc.age(p) < t.opts.MinAge:
			young = append(young, p)
		default:
			old = append(old, p)
		}
	}
	switch {
	case len(old) > 0:
		return t.root(all, old)
	case len(young) > 0:
		return slices.MaxFunc(young, func(a, b process) int { return cmp.Compare(t.proc.age(a), t.proc.age(b)) }), nil
	}
	return process{}, t.noMatch(all, seen)
}

// allowed leaves out this process and what it started (the command of an exec
// target may be the app's own client), the sandbox, and what cannot take a
// signal.
func (t *ByName) allowed(all table, p process) bool {
	return !p.zombie && !p.kernel && !t.sandbox(all, p) && !all.descends(p, t.self) && p.pid != t.self
}

// sandbox reports whether p is "pause", whatever its name: PID 1 of a shared
// namespace, from which no container's processes descend. If it ends, the Pod
// ends. A PID 1 from which we descend is the app of a container that has both.
func (t *ByName) sandbox(all table, p process) bool {
	return p.pid == 1 && p.pid != t.self && !all.descends(all[t.self], 1)
}

// root returns the match from which all others descend, also through processes
// that do not match: a parent and its workers.
func (t *ByName) root(all table, matches []process) (process, error) {
	matching := newTable(matches)
	isMatch := func(pid int) bool { _, ok := matching[pid]; return ok }
	var roots []process
	for _, p := range matches {
		if !slices.ContainsFunc(all.ancestors(p), isMatch) {
			roots = append(roots, p)
		}
	}
	if len(roots) == 1 {
		return roots[0], nil
	}
	return process{}, notifier.Failf("several",
		"%d unrelated processes are named %q: %s; use SECRETSYNC_PID_FILE, or a name that only one has",
		len(roots), t.name, list(roots, func(p process) string {
			return fmt.Sprintf("pid %d (%s, parent %d, age %v)", p.pid, p.comm, p.ppid, t.proc.age(p).Round(time.Second))
		}))
}

// noMatch lists the other processes. Where all are this container's own, the
// namespace is not shared.
func (t *ByName) noMatch(all table, seen []process) error {
	others := slices.DeleteFunc(slices.Clone(seen), func(p process) bool {
		ours := !t.allowed(all, p) || all.descends(all[t.self], p.pid)
		return ours && !t.sandbox(all, p)
	})
	if len(others) == 0 {
		return notifier.Failf("alone", "no process is named %q: only this container's processes can be seen; "+
			"the Pod's spec needs shareProcessNamespace: true", t.name)
	}
	return notifier.Failf("no match", "no process is named %q; seen: %s", t.name, list(others, process.String))
}

// table is the processes of one look, by number.
type table map[int]process

func newTable(seen []process) table {
	all := table{}
	for _, p := range seen {
		all[p.pid] = p
	}
	return all
}

// ancestors are the numbers of a process's parent, of that one's parent and so on.
func (all table) ancestors(p process) (pids []int) {
	for range len(all) { // parents that change during a look can form a ring
		parent, ok := all[p.ppid]
		if !ok {
			break
		}
		pids = append(pids, parent.pid)
		p = parent
	}
	return pids
}

func (all table) descends(p process, ancestor int) bool {
	return slices.Contains(all.ancestors(p), ancestor)
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
