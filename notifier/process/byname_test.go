package process

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const sidecar = 50 // its number in the fake Pods below

// pod is processes in a shared PID namespace: pause, the sidecar, and those of
// the test. All are an hour old.
func pod(ps ...process) []process {
	return append([]process{{pid: 1, comm: "pause", argv: []string{"/pause"}}, {pid: sidecar, comm: "secret-sync"}}, ps...)
}

func chooser(name string) *ByName {
	p := NewByName(name, Options{Signal: unix.SIGHUP, Check: true, MinAge: 5 * time.Second})
	p.self = sidecar
	p.proc.uptime = func() time.Duration { return time.Hour }
	return p
}

func TestChoose(t *testing.T) {
	young := func(seconds int) time.Duration { return time.Hour - time.Duration(seconds)*time.Second }
	for _, test := range []struct {
		name string
		pod  []process
		want int    // 0: an error
		err  string // with this in it
	}{
		{"one", pod(process{pid: 7, comm: "app"}), 7, ""},
		{"parent and workers", pod(process{pid: 9, ppid: 7, comm: "app"}, process{pid: 7, comm: "app"}, process{pid: 8, ppid: 7, comm: "app"}), 7, ""},
		{"workers below a shell", pod(process{pid: 7, comm: "app"}, process{pid: 8, ppid: 7, comm: "sh"}, process{pid: 9, ppid: 8, comm: "app"}), 7, ""},
		{"below tini", pod(process{pid: 6, comm: "tini"}, process{pid: 7, ppid: 6, comm: "app"}), 7, ""},
		{"orphaned workers", pod(process{pid: 8, ppid: 1, comm: "app"}, process{pid: 9, ppid: 1, comm: "app"}), 0, "2 unrelated"},
		{"a young probe beside the app", pod(process{pid: 7, comm: "app"}, process{pid: 8, comm: "app", start: young(1)}), 7, ""},
		{"young ones alone: the oldest", pod(process{pid: 7, comm: "app", start: young(1)}, process{pid: 8, comm: "app", start: young(3)}), 8, ""},
		{"a zombie", pod(process{pid: 7, comm: "app", zombie: true}), 0, "no process is named"},
		{"a kernel thread", pod(process{pid: 7, comm: "app", kernel: true}), 0, "no process is named"},
		{"its own child", pod(process{pid: 7, ppid: 60, comm: "app"}, process{pid: 60, ppid: sidecar, comm: "sh"}), 0, "no process is named"},
		{"none", pod(process{pid: 7, comm: "nginx"}, process{pid: 8, comm: "sh"}), 0, `no process is named "app"; seen: 1 (pause), 7 (nginx), 8 (sh)`},
		{"a ring of parents", pod(process{pid: 7, ppid: 8, comm: "app"}, process{pid: 8, ppid: 7, comm: "sh"}), 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chooser("app").choose(test.pod)
			if got.pid != test.want && test.name != "a ring of parents" { // there: only that it ends
				t.Errorf("chose %v, %v, want %d", got, err, test.want)
			}
			if test.want == 0 && test.err != "" {
				wantError(t, err, test.err)
			}
		})
	}
}

func TestNeverPause(t *testing.T) {
	_, err := chooser("pause").choose(pod(process{pid: 7, comm: "app"}))
	wantError(t, err, "no process is named")
	_, err = chooser("secret-sync").choose(pod(process{pid: 7, comm: "app"}))
	wantError(t, err, "no process is named", "7 (app)")
	// Some node's pause goes by another name: by the app's, of all names.
	_, err = chooser("app").choose([]process{{pid: 1, comm: "app"}, {pid: sidecar, comm: "secret-sync"}})
	wantError(t, err, "no process is named", "1 (app)")
}

// PID 1 that is the app's own: an image with both in one container.
func TestPID1OfTheSameContainer(t *testing.T) {
	got, err := chooser("app").choose([]process{{pid: 1, comm: "app"}, {pid: sidecar, ppid: 1, comm: "secret-sync"}})
	if err != nil || got.pid != 1 {
		t.Errorf("chose %v, %v, want 1", got, err)
	}
}

func TestHintOfTheSharedNamespace(t *testing.T) {
	for name, ps := range map[string][]process{
		"alone":            {{pid: 1, comm: "secret-sync"}},
		"below a shell":    {{pid: 1, comm: "tini"}, {pid: 2, ppid: 1, comm: "secret-sync"}},
		"with a command":   {{pid: 1, comm: "secret-sync"}, {pid: 2, ppid: 1, comm: "app"}},
		"with dead orphan": {{pid: 1, comm: "secret-sync"}, {pid: 9, ppid: 1, comm: "app", zombie: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := chooser("app")
			for _, each := range ps {
				if each.comm == "secret-sync" {
					p.self = each.pid
				}
			}
			_, err := p.choose(ps)
			wantError(t, err, "shareProcessNamespace: true")
		})
	}
	_, err := chooser("app").choose(pod())
	wantError(t, err, "seen: 1 (pause)")
}

func TestListIsBounded(t *testing.T) {
	var ps []process
	for i := range 500 {
		ps = append(ps, process{pid: 100 + i, comm: "other", argv: []string{"other", "--password=hunter2"}})
	}
	_, err := chooser("app").choose(pod(ps...))
	wantError(t, err, "491 more")
	if len(err.Error()) > 400 {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
	for i := range ps {
		ps[i].comm = "app"
	}
	_, err = chooser("app").choose(pod(ps...))
	wantError(t, err, "500 unrelated", "490 more")
}

// A shell of an hour that execs the app is no app of an hour.
func TestExecIsYoung(t *testing.T) {
	p := chooser("app")
	now := time.Hour
	p.proc.uptime = func() time.Duration { return now }
	look := func(comm string) (time.Duration, error) {
		seen := pod(process{pid: 7, comm: comm})
		p.noteNames(seen)
		found, err := p.choose(seen)
		return p.proc.age(found), err
	}
	if _, err := look("sh"); err == nil {
		t.Fatal("want no match")
	}
	now += time.Second
	for _, want := range []time.Duration{time.Second, 4 * time.Second, 7 * time.Second} {
		if got, err := look("app"); err != nil || got != want {
			t.Errorf("age = %v, %v, want %v", got, err, want)
		}
		now += 3 * time.Second
	}
	if _, ok := p.otherName[identity{pid: 7}]; !ok {
		t.Error("the exec is forgotten")
	}
}
