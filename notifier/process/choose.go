//go:build linux

package process

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/notifier"
)

// choose returns the main process among the old enough matches, or the oldest match if none is. Young matches do not
// count beside an old match, because the kubelet's probes and people with a shell run the app's program for moments.
func (t *Target) choose(seen tree) (process, error) {
	t.observe(seen)
	matches, others := t.candidates(seen)
	old := slices.DeleteFunc(slices.Clone(matches), func(p process) bool { return t.proc.age(p) < t.opts.MinAge })
	switch name := t.opts.Name; {
	case len(old) > 0:
		return t.mainProcess(seen, old, matches)
	case len(matches) > 0:
		return slices.MaxFunc(matches, func(a, b process) int { return cmp.Compare(t.proc.age(a), t.proc.age(b)) }), nil
	case len(others) > 0:
		found := joinProcesses(others, func(p process) string { return fmt.Sprintf("%d (%s)", p.pid, p.allNames()) })
		return process{}, notifier.Failf("no match", "no process is named %q; found: %s%s", name, found, t.hint(""))
	default:
		return process{}, notifier.Failf("alone", "no process is named %q%s", name, t.hint(
			": only the processes of this container are visible; set shareProcessNamespace: true in the Pod's spec"))
	}
}

// hint returns the reason why /proc hides processes, or otherwise.
func (t *Target) hint(otherwise string) string {
	mounts, _ := t.proc.file("self", "mounts")
	if strings.Contains(mounts, "hidepid=") {
		return "; /proc is mounted with hidepid, which hides the processes of other users"
	}
	return otherwise
}

// observe sets matched and execed. A process has called exec since the last call if its stack starts at
// another address. If the stack is unknown, a process that matches only now counts as executed: it may be a
// shell that is hours old and now executes the app.
func (t *Target) observe(seen tree) {
	for pid, p := range seen {
		before := t.observed[pid]
		p.matched = t.matches(p)
		if before.same(p) {
			p.execed = before.execed
			unknown := p.stack == 0 || before.stack == 0
			if !unknown && p.stack != before.stack || unknown && p.matched && !before.matched {
				p.execed = t.proc.uptime()
			}
		}
		seen[pid] = p
	}
	t.observed = seen
}

// candidates returns the processes that match and may be signaled, and the other processes of the Pod's
// apps. Whatever its name, PID 1 is the sandbox ("pause"), with which the Pod ends. If it is an ancestor of
// this process, it is the app in a container with both.
func (t *Target) candidates(seen tree) (matches, others []process) {
	ancestors := seen.lineage(t.self)
	for _, pid := range slices.Sorted(maps.Keys(seen)) {
		p, isAncestor := seen[pid], contains(ancestors, pid)
		switch {
		case p.inert || !t.proc.inPod(pid) || contains(seen.lineage(pid), t.self): // or a command of this process
		case p.matched && (pid != 1 || isAncestor):
			matches = append(matches, p)
		case !isAncestor:
			others = append(others, p)
		}
	}
	return matches, others
}

// mainProcess returns the main process of a program. It is the highest ancestor of the program's other processes that
// matches, or that forked such an ancestor without exec: both stacks start at the same address. The fork is then a
// worker, whatever the title of its parent. Between them may be processes that do not match.
func (t *Target) mainProcess(seen tree, old, matches []process) (process, error) {
	var roots []process
	for _, p := range old {
		root := p
		for _, parent := range seen.lineage(p.ppid) {
			forked := parent.pid == root.ppid && parent.stack == root.stack && root.stack != 0 && !parent.inert
			if forked || contains(old, parent.pid) {
				root = parent
			}
		}
		if !contains(roots, root.pid) {
			roots = append(roots, root)
		}
	}
	if len(roots) == 1 {
		return t.successor(roots[0], matches)
	}
	return process{}, notifier.Failf("several",
		"%d unrelated processes are named %q: %s; set SECRETSYNC_PID_FILE, or a name that only one of them uses",
		len(roots), t.opts.Name, joinProcesses(roots, func(p process) string {
			age := t.proc.age(p).Round(time.Second)
			return fmt.Sprintf("pid %d (%s; parent %d, age %v)", p.pid, p.allNames(), p.ppid, age)
		}))
}

type tree map[int]process // by PID

// lineage returns a process and its ancestors. It is bounded: processes that change meanwhile can form a ring.
func (all tree) lineage(pid int) (line []process) {
	for p, ok := all[pid]; ok && len(line) < len(all); p, ok = all[p.ppid] {
		line = append(line, p)
	}
	return line
}

func contains(all []process, pid int) bool {
	return slices.ContainsFunc(all, func(p process) bool { return p.pid == pid })
}

// joinProcesses joins at most ten processes. It never shows arguments, which may be passwords.
func joinProcesses(ps []process, show func(process) string) string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = show(p)
	}
	return strings.Join(brief.List(parts), ", ")
}

// successor returns the process that replaces root, or root if there is none. A graceful restart (USR2 in
// gunicorn, unicorn and nginx, Go's tableflip) starts a successor as a child. Unlike a worker, it executes
// the program again and starts workers of its own. Workers of Node's cluster module execute the program too.
// A single child without workers that extends the environment can be either, so the result is an error. Several of them
// are workers: a successor is alone.
func (t *Target) successor(root process, matches []process) (process, error) {
	var leaders []process // children with workers
	var extended, doubtful int
	for _, p := range matches {
		if p.ppid != root.pid || p.role() != root.role() {
			continue
		}
		stacks := p.stack != 0 && root.stack != 0 // known
		own, err1 := t.proc.file(p.pid, "environ")
		inherited, err2 := t.proc.file(root.pid, "environ")
		if stacks && (p.stack == root.stack || strings.Contains(own, "NODE_CHANNEL_FD=")) {
			continue // a worker
		}
		known := stacks && err1 == nil && err2 == nil
		switch leads := slices.ContainsFunc(matches, func(q process) bool { return q.ppid == p.pid }); {
		case leads && known:
			leaders = append(leaders, p)
		case leads:
			doubtful++
		case known && extends(own, inherited):
			extended++
		}
	}
	switch {
	case len(leaders) == 1 && doubtful == 0:
		return t.successor(leaders[0], matches)
	case len(leaders) == 0 && doubtful == 0 && extended != 1:
		return root, nil
	}
	return process{}, notifier.Failf("successor", "process %v started another %q, which may replace it "+
		"or work for it; set SECRETSYNC_PID_FILE", root, t.opts.Name)
}

// extends reports whether an environment contains variables that the environment of the parent lacks. A program that
// executes itself again passes its sockets in such variables. The old program keeps its workers, whose environments
// lack them.
func extends(environ, parent string) bool {
	return slices.ContainsFunc(strings.Split(strings.Trim(environ, "\x00"), "\x00"), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !strings.Contains("\x00"+parent, "\x00"+name+"=")
	})
}

// role distinguishes a main process from other processes of its program: "nginx: master", "sshd: user".
func (p process) role() string {
	words := strings.Fields(strings.Join(p.argv, " "))
	return strings.Join(words[:min(2, len(words))], " ")
}
