package process

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A fakeProcess is a process of a fake Pod with its initial environment.
type fakeProcess struct {
	process
	environ string // separated by spaces; "-": not readable
}

// chooseIn returns the PID chosen by the target named name in a Pod, or an error.
func chooseIn(t *testing.T, name string, pod []fakeProcess) (int, error) {
	t.Helper()
	proc := newFakeProc(t)
	for _, p := range pod {
		proc.setProcess(p.process)
		if p.environ != "-" {
			write(t, fmt.Sprintf("%s/%d/environ", proc.root, p.pid), strings.ReplaceAll(p.environ, " ", "\x00")+"\x00")
		}
	}
	p := proc.byName(name, Options{Signal: unix.SIGUSR2, MinAge: 5 * time.Second}, func() {})
	chosen, err := p.find()
	return chosen.pid, err
}

// TestChoose_successor distinguishes workers from a successor.
func TestChoose_successor(t *testing.T) {
	gunicorn := func(pid, ppid int, stack uint64) process {
		return process{pid: pid, ppid: ppid, stack: stack, comm: "gunicorn", argv: []string{"gunicorn: master [app]"}}
	}
	worker := func(pid, ppid int, stack uint64) process {
		return process{pid: pid, ppid: ppid, stack: stack, comm: "gunicorn", argv: []string{"gunicorn: worker [app]"}}
	}
	node := func(pid, ppid int, stack uint64) process {
		return process{pid: pid, ppid: ppid, stack: stack, comm: "node", argv: []string{"node", "server.js"}}
	}
	young := func(p process) process { p.start = time.Hour - time.Second; return p }
	for _, test := range []struct {
		name, process string
		pod           []fakeProcess
		want          int // 0: an error that advises to use a PID file
	}{
		{"gunicorn", "gunicorn", []fakeProcess{
			{gunicorn(7, 0, 1), "A=1"}, {worker(8, 7, 1), "A=1"},
		}, 7},
		{"gunicorn after USR2", "gunicorn", []fakeProcess{
			{gunicorn(7, 0, 1), "A=1"}, {worker(8, 7, 1), "A=1"}, {gunicorn(9, 7, 2), "A=1 GUNICORN_PID=7"},
			{worker(10, 9, 2), "A=1 GUNICORN_PID=7"},
		}, 9},
		{"gunicorn after USR2, young successor", "gunicorn", []fakeProcess{
			{gunicorn(7, 0, 1), "A=1"}, {worker(8, 7, 1), "A=1"}, {young(gunicorn(9, 7, 2)), "A=1 GUNICORN_PID=7"},
			{young(worker(10, 9, 2)), "A=1 GUNICORN_PID=7"},
		}, 9},
		{"gunicorn after two USR2", "gunicorn", []fakeProcess{
			{gunicorn(7, 0, 1), "A=1"}, {gunicorn(9, 7, 2), "A=1 GUNICORN_PID=7"}, {worker(10, 9, 2),
				"A=1 GUNICORN_PID=7"},
			{gunicorn(11, 9, 3), "A=1 GUNICORN_PID=9"}, {worker(12, 11, 3), "A=1 GUNICORN_PID=9"},
		}, 11},
		{"successor without workers yet", "gunicorn", []fakeProcess{
			{gunicorn(7, 0, 1), "A=1"}, {worker(8, 7, 1), "A=1"}, {gunicorn(9, 7, 2), "A=1 GUNICORN_PID=7"},
		}, 0},
		{"successor, stacks unknown", "gunicorn", []fakeProcess{
			{gunicorn(7, 0, 0), "-"}, {worker(8, 7, 0), "-"}, {gunicorn(9, 7, 0), "-"}, {worker(10, 9, 0), "-"},
		}, 0},
		{"workers, stacks unknown", "gunicorn", []fakeProcess{
			{gunicorn(7, 0, 0), "-"}, {worker(8, 7, 0), "-"}, {worker(9, 7, 0), "-"},
		}, 7},
		{"workers of Node's cluster module", "server.js", []fakeProcess{
			{node(7, 0, 1), "A=1"}, {node(8, 7, 2), "A=1 NODE_CHANNEL_FD=3 NODE_UNIQUE_ID=1"},
		}, 7},
		{"several executed workers", "server.js", []fakeProcess{
			{node(7, 0, 1), "A=1"}, {node(8, 7, 2), "A=1 CHILD=1"}, {node(9, 7, 3), "A=1 CHILD=1"},
		}, 7},
		{"old worker of a parent that executed itself again", "server.js", []fakeProcess{
			{node(7, 0, 2), "A=1 REEXEC=1"}, {node(8, 7, 1), "A=1"},
		}, 7},
		{"child with another role", "sshd", []fakeProcess{
			{process{pid: 7, stack: 1, comm: "sshd", argv: []string{"sshd: /usr/sbin/sshd -D [listener]"}}, "A=1"},
			{process{pid: 8, ppid: 7, stack: 2, comm: "sshd", argv: []string{"sshd: user [priv]"}}, "A=1 B=1"},
			{process{pid: 9, ppid: 8, stack: 2, comm: "sshd", argv: []string{"sshd: user@pts/0"}}, "A=1 B=1"},
		}, 7},
		{"worker whose parent has another title", "puma", []fakeProcess{
			{process{pid: 7, stack: 1, comm: "ruby", argv: []string{"ruby", "bin/rails", "server"}}, "A=1"},
			{process{pid: 8, ppid: 7, stack: 1, comm: "ruby", argv: []string{"puma: cluster worker 0: 7 [app]"}},
				"A=1"},
			{process{pid: 9, ppid: 7, stack: 1, comm: "ruby", argv: []string{"puma: cluster worker 1: 7 [app]"}},
				"A=1"},
		}, 7},
		{"below tini", "node", []fakeProcess{
			{process{pid: 7, stack: 1, comm: "tini"}, "A=1"}, {node(8, 7, 2), "A=1"},
		}, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chooseIn(t, test.process, test.pod)
			if got != test.want {
				t.Errorf("chose %d, %v, want %d", got, err, test.want)
			}
			if test.want == 0 {
				wantError(t, err, "SECRETSYNC_PID_FILE", "process 7")
			}
		})
	}
}

// TestChoose_confirmsParentOfWorkers: a main process that does not match itself is still the same
// process after the choice.
func TestChoose_confirmsParentOfWorkers(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, stack: 1, comm: "ruby", caught: 1})
	proc.setProcess(process{pid: 8, ppid: 7, stack: 1, comm: "ruby", argv: []string{"puma: cluster worker 0: 7"}})
	p := proc.byName("puma", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	if err := p.Notify(t.Context(), noChanges); err != nil || len(proc.sent) != 1 || proc.sent[0] != 7 {
		t.Errorf("signaled %v, error %v, want 7", proc.sent, err)
	}
	p = proc.byName("puma", Options{Signal: unix.SIGHUP, Check: true},
		func() { proc.setProcess(process{pid: 7, stack: 1, comm: "sh", caught: 1}) })
	if err := p.Notify(t.Context(), noChanges); err == nil || len(proc.sent) != 1 {
		t.Errorf("signaled %v, error %v, want an error", proc.sent, err)
	}
}

// TestChoose_otherPods: with hostPID, only the processes of this Pod match.
func TestChoose_otherPods(t *testing.T) {
	const mine, other = "pod0123abcd-0123-0123-0123-0123456789ab", "podffffabcd-0123-0123-0123-0123456789ab"
	for _, test := range []struct {
		own, cgroup string
		match       bool
	}{
		{"0::/", "0::/../cri-containerd-1.scope", true},
		{"0::/", "0::/../../crio-1.scope/container", true},
		{"0::/", "0::/", true},
		{"0::/", "0::/../../kubepods-burstable-" + other + ".slice/cri-containerd-1.scope", false},
		{"0::/", "0::/../../../system.slice/sshd.service", false},
		{"0::/kubepods/burstable/" + mine + "/1", "0::/kubepods/burstable/" + mine + "/2", true},
		{"0::/kubepods/burstable/" + mine + "/1", "0::/kubepods/burstable/" + other + "/2", false},
		{"0::/kubepods/burstable/" + mine + "/1", "0::/system.slice/sshd.service", false},
		{"12:cpu:/x\n1:name=systemd:/kubepods/" + mine + "/1", "12:cpu:/x\n1:name=systemd:/kubepods/" + other + "/1",
			false},
		{"0::/user.slice/a.scope", "0::/user.slice/b.scope", true},
		{"", "0::/x", true},
	} {
		proc := newFakeProc(t)
		proc.setProcess(process{pid: 7, comm: "app"})
		write(t, proc.root+"/7/cgroup", test.cgroup+"\n")
		if test.own != "" {
			proc.setProcess(process{pid: 8, comm: "secret-sync"})
			write(t, proc.root+"/8/cgroup", test.own+"\n")
			symlink(t, "8", proc.root+"/self")
		}
		p := proc.byName("app", Options{Signal: unix.SIGHUP}, func() {})
		if _, err := p.find(); (err == nil) != test.match {
			t.Errorf("%q beside %q: error %v, want a match: %v", test.cgroup, test.own, err, test.match)
		}
		path := t.TempDir() + "/pid"
		write(t, path, "7")
		byFile := byFile(path)
		proc.fake(byFile, func() {})
		if _, err := byFile.find(); (err == nil) != test.match {
			t.Errorf("PID file, %q beside %q: error %v, want a match: %v", test.cgroup, test.own, err, test.match)
		}
	}
}

// TestChoose_hiddenProcesses: the error for hidepid names hidepid and not the shared namespace, also if other processes
// are visible, and with a PID file.
func TestChoose_hiddenProcesses(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: sidecar, comm: "secret-sync"})
	symlink(t, fmt.Sprint(sidecar), proc.root+"/self")
	write(t, fmt.Sprintf("%s/%d/mounts", proc.root, sidecar), "proc /proc proc rw,nosuid,hidepid=invisible 0 0\n")
	path := t.TempDir() + "/pid"
	write(t, path, "7")
	file := byFile(path)
	proc.fake(file, func() {})
	for _, pid := range []int{sidecar, 8} { // without and with another process
		proc.setProcess(process{pid: pid, comm: "secret-sync"})
		for _, p := range []*Target{proc.byName("app", Options{Signal: unix.SIGHUP}, func() {}), file} {
			_, err := p.find()
			wantError(t, err, "mounted with hidepid")
			if strings.Contains(err.Error(), "shareProcessNamespace") {
				t.Errorf("%v: want no advice about the namespace", err)
			}
		}
	}
}
