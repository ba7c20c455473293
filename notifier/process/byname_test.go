package process

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

const sidecar = 50 // PID in the fake Pods below

// pod returns the processes of a shared PID namespace: pause, the sidecar and ps. All are
// an hour old.
func pod(ps ...process) tree {
	return container(append([]process{{pid: 1, comm: "pause", argv: []string{"/pause"}},
		{pid: sidecar, comm: "secret-sync"}}, ps...)...)
}

// container returns the processes of a container.
func container(ps ...process) tree {
	all := tree{}
	for _, p := range ps {
		all[p.pid] = p
	}
	return all
}

// chooser returns a target in the sidecar of a fake Pod.
func chooser(name string) *Target {
	p := New(Options{Name: name, Signal: unix.SIGHUP, Check: true, MinAge: 5 * time.Second})
	p.self = sidecar
	p.proc = procfs{root: "/nonexistent", uptime: func() time.Duration { return time.Hour }}
	return p
}

// TestChoose: the main process is chosen, or the error lists the processes.
func TestChoose(t *testing.T) {
	young := func(seconds int) time.Duration { return time.Hour - time.Duration(seconds)*time.Second }
	for _, test := range []struct {
		name string
		pod  tree
		want int    // PID; 0: an error
		err  string // part of the error
	}{
		{"single process", pod(process{pid: 7, comm: "app"}), 7, ""},
		{"parent and workers", pod(process{pid: 9, ppid: 7, comm: "app"}, process{pid: 7, comm: "app"},
			process{pid: 8, ppid: 7, comm: "app"}), 7, ""},
		{"workers below a shell", pod(process{pid: 7, comm: "app"}, process{pid: 8, ppid: 7, comm: "sh"},
			process{pid: 9, ppid: 8, comm: "app"}), 7, ""},
		{"below tini", pod(process{pid: 6, comm: "tini"}, process{pid: 7, ppid: 6, comm: "app"}), 7, ""},
		{"orphaned workers", pod(process{pid: 8, ppid: 1, comm: "app"}, process{pid: 9, ppid: 1, comm: "app"}), 0,
			"2 unrelated"},
		{"a young probe beside the app", pod(process{pid: 7, comm: "app"},
			process{pid: 8, comm: "app", start: young(1)}), 7,
			""},
		{"only young processes: the oldest",
			pod(process{pid: 7, comm: "app", start: young(1)}, process{pid: 8, comm: "app", start: young(3)}), 8, ""},
		{"an inert process", pod(process{pid: 7, comm: "app", inert: true}), 0, "no process is named"},
		{"child of the sidecar", pod(process{pid: 7, ppid: 60, comm: "app"},
			process{pid: 60, ppid: sidecar, comm: "sh"}), 0,
			"no process is named"},
		{"no match", pod(process{pid: 7, comm: "nginx"}, process{pid: 8, comm: "sh"}), 0,
			`no process is named "app"; found: 1 (pause), 7 (nginx), 8 (sh)`},
		{"a ring of parents", pod(process{pid: 7, ppid: 8, comm: "app"}, process{pid: 8, ppid: 7, comm: "sh"}), 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chooser("app").choose(test.pod)
			if got.pid != test.want && test.name != "a ring of "+
				"parents" { // which has no main process; choose must return
				t.Errorf("chose %v, %v, want %d", got, err, test.want)
			}
			if test.want == 0 && test.err != "" {
				testsupport.WantError(t, err, test.err)
			}
		})
	}
}

// TestChoose_neverPause: PID 1 of a shared namespace is never signaled, whatever its name.
func TestChoose_neverPause(t *testing.T) {
	_, err := chooser("pause").choose(pod(process{pid: 7, comm: "app"}))
	testsupport.WantError(t, err, "no process is named")
	_, err = chooser("secret-sync").choose(pod(process{pid: 7, comm: "app"}))
	testsupport.WantError(t, err, "no process is named", "7 (app)")
	// On some nodes the sandbox uses another name. Here it is the app's.
	_, err = chooser("app").choose(container(process{pid: 1, comm: "app"}, process{pid: sidecar, comm: "secret-sync"}))
	testsupport.WantError(t, err, "no process is named", "1 (app)")
}

// TestChoose_pid1OfTheSameContainer: in an image with the app and the sidecar, PID 1 is the app.
func TestChoose_pid1OfTheSameContainer(t *testing.T) {
	got, err := chooser("app").choose(container(process{pid: 1, comm: "app"},
		process{pid: sidecar, ppid: 1, comm: "secret-sync"}))
	if err != nil || got.pid != 1 {
		t.Errorf("chose %v, %v, want 1", got, err)
	}
}

// TestChoose_hintOfTheSharedNamespace: if only the own container is visible, the error names
// shareProcessNamespace.
func TestChoose_hintOfTheSharedNamespace(t *testing.T) {
	for name, ps := range map[string][]process{
		"alone":            {{pid: 1, comm: "secret-sync"}},
		"below a shell":    {{pid: 1, comm: "tini"}, {pid: 2, ppid: 1, comm: "secret-sync"}},
		"with a command":   {{pid: 1, comm: "secret-sync"}, {pid: 2, ppid: 1, comm: "app"}},
		"with dead orphan": {{pid: 1, comm: "secret-sync"}, {pid: 9, ppid: 1, comm: "app", inert: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := chooser("app")
			for _, each := range ps {
				if each.comm == "secret-sync" {
					p.self = each.pid
				}
			}
			_, err := p.choose(container(ps...))
			testsupport.WantError(t, err, "shareProcessNamespace: true")
		})
	}
	_, err := chooser("app").choose(pod())
	testsupport.WantError(t, err, "found: 1 (pause)")
}

// TestChoose_boundedList: an error lists ten processes, without arguments.
func TestChoose_boundedList(t *testing.T) {
	var ps []process
	for i := range 500 {
		ps = append(ps, process{pid: 100 + i, comm: "other", argv: []string{"other", "--password=hunter2"}})
	}
	_, err := chooser("app").choose(pod(ps...))
	testsupport.WantError(t, err, "491 more")
	if len(err.Error()) > 400 {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
	for i := range ps {
		ps[i].comm = "app"
	}
	_, err = chooser("app").choose(pod(ps...))
	testsupport.WantError(t, err, "500 unrelated", "490 more")
}

// TestAge_exec: the age starts again when an exec is observed. If the shell is an hour
// old, the app executed by it is not.
func TestAge_exec(t *testing.T) {
	p := chooser("app")
	now := time.Hour
	p.proc.uptime = func() time.Duration { return now }
	observe := func(comm string, stack uint64) (time.Duration, error) {
		seen := pod(process{pid: 7, comm: comm, stack: stack})
		found, err := p.choose(seen)
		return p.proc.age(found), err
	}
	for _, test := range []struct {
		comm  string
		stack uint64
		age   time.Duration // after the previous observation
	}{
		{"app", 1, time.Hour},
		{"app", 1, time.Hour + time.Second},
		{"app", 2, 0}, // it executed itself again
		{"app", 2, time.Second},
		{"app", 0, 2 * time.Second}, // unknown
	} {
		if got, err := observe(test.comm, test.stack); err != nil || got != test.age {
			t.Errorf("stack %d: age = %v, %v, want %v", test.stack, got, err, test.age)
		}
		now += time.Second
	}
	p.observed = nil
	if _, err := observe("sh", 0); err == nil {
		t.Error("a shell matches")
	}
	for _, want := range []time.Duration{0, 3 * time.Second, 6 * time.Second} { // the shell executed the app
		if got, err := observe("app", 0); err != nil || got != want {
			t.Errorf("age = %v, %v, want %v", got, err, want)
		}
		now += 3 * time.Second
	}
}
