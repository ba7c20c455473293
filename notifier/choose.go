package notifier

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// family is the processes of one look, by number.
type family map[int]process

// below reports whether p descends from an ancestor that has the property, over
// any number of steps.
func (all family) below(p process, has func(process) bool) bool {
	for range len(all) { // numbers that change between two reads can form a ring
		parent, ok := all[p.ppid]
		if !ok {
			return false
		}
		if has(parent) {
			return true
		}
		p = parent
	}
	return false
}

// choose returns the one process that is meant: of those that match, the old
// enough ones, or when there are none the young ones; and of these the one from
// which all others descend.
//
// Young ones do not count beside old ones because the kubelet's probes and
// people with a shell run the app's own program for moments.
func (t *Process) choose(seen []process) (process, error) {
	all := family{}
	for _, p := range seen {
		all[p.pid] = p
	}
	var old, young []process
	for _, p := range seen {
		switch {
		case !t.allowed(all, p) || !t.matches(p):
		case t.age(p) < t.opts.MinAge:
			young = append(young, p)
		default:
			old = append(old, p)
		}
	}
	switch {
	case len(old) > 0:
		return t.root(all, old)
	case len(young) > 0:
		oldest := young[0]
		for _, p := range young[1:] {
			if t.age(p) > t.age(oldest) {
				oldest = p
			}
		}
		return oldest, nil
	}
	return process{}, t.noMatch(all)
}

// allowed leaves out what is never meant: this process and what it started (a
// command of the target exec may be the app's own client), the sandbox's PID 1,
// and what cannot take a signal. In a shared namespace PID 1 is "pause", whatever
// it is called there, and no ancestor of any container's processes: ending it
// ends the Pod. One that is our ancestor is the app of a container that has both.
func (t *Process) allowed(all family, p process) bool {
	self := func(p process) bool { return p.pid == t.self }
	sandbox := p.pid == 1 && !all.below(all[t.self], func(parent process) bool { return parent.pid == 1 })
	return !p.zombie && !p.kernel && !sandbox && !self(p) && !all.below(p, self)
}

// root returns the match from which all others descend, also through processes
// that do not match: a parent and its workers.
func (t *Process) root(all family, matches []process) (process, error) {
	matched := map[int]bool{}
	for _, p := range matches {
		matched[p.pid] = true
	}
	var roots []process
	for _, p := range matches {
		if !all.below(p, func(parent process) bool { return matched[parent.pid] }) {
			roots = append(roots, p)
		}
	}
	if len(roots) == 1 {
		return roots[0], nil
	}
	sort.Slice(roots, func(i, j int) bool { return roots[i].pid < roots[j].pid })
	return process{}, failed("several", "%d unrelated processes are named %q: %s; use SECRETSYNC_PID_FILE, or a name that only one has",
		len(roots), t.opts.Name, list(roots, func(p process) string {
			return fmt.Sprintf("pid %d (%s, parent %d, age %v)", p.pid, p.comm, p.ppid, t.age(p).Round(time.Second))
		}))
}

func (t *Process) noMatch(all family) error {
	me := all[t.self]
	var others []process
	for _, p := range all {
		above := all.below(me, func(parent process) bool { return parent.pid == p.pid })
		sandbox := p.pid == 1 && !above && p.pid != t.self
		if t.allowed(all, p) && !above || sandbox {
			others = append(others, p)
		}
	}
	if len(others) == 0 {
		return failed("alone", "no process is named %q: only this container's processes can be seen; the Pod's spec needs shareProcessNamespace: true", t.opts.Name)
	}
	sort.Slice(others, func(i, j int) bool { return others[i].pid < others[j].pid })
	return failed("no match", "no process is named %q; seen: %s", t.opts.Name, list(others, process.String))
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

// history knows which processes went by another name at an earlier look. exec
// keeps number and start time: a shell that waited for a database and then execs
// the app is hours old, and the app in it milliseconds. If the last look saw the
// shell, the app counts as no older than that look. That is the case that
// matters: while the app is not there, the worker looks again and again.
type history struct {
	others map[int]time.Duration    // did not match at the last look → start
	execs  map[int][2]time.Duration // match now and did not once → start, last seen as another
	at     time.Duration            // of the last look
}

func (h *history) since(p process) time.Duration {
	if start, ok := h.others[p.pid]; ok && start == p.start {
		return h.at
	}
	if exec, ok := h.execs[p.pid]; ok && exec[0] == p.start {
		return exec[1]
	}
	return 0
}

// remember ends a look. It keeps what is alive, so it does not grow.
func (h *history) remember(all []process, matches func(process) bool, now time.Duration) {
	next := history{others: map[int]time.Duration{}, execs: map[int][2]time.Duration{}, at: now}
	for _, p := range all {
		if !matches(p) {
			next.others[p.pid] = p.start
		} else if since := h.since(p); since > 0 {
			next.execs[p.pid] = [2]time.Duration{p.start, since}
		}
	}
	*h = next
}
