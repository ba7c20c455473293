package writer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// reference is how a scenario goes when nothing interferes.
type reference struct {
	scenario
	points        []call
	before, after map[string]string // what apps see
	tree          map[string]string // all there is in the end, graces over
}

func (s scenario) reference(t *testing.T) reference {
	t.Helper()
	r, dir, c := reference{scenario: s}, memoryDir(t), newClock()
	c.Add(time.Hour)
	s.prepare(t, dir)
	if s.damage == nil {
		r.before = visible(t, dir)
	}
	w, seam, err := s.play(s.options(t, dir, c.Now), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.points, r.after = seam.recorded(), visible(t, dir)
	seam.reset(nil)
	settle(w, c)
	r.tree = tree(t, dir)
	shut(t, w)
	return r
}

// checkSeen: apps see exactly the old or exactly the new files.
func (r reference) checkSeen(t *testing.T, dir string) {
	t.Helper()
	if got := visible(t, dir); !r.steps && !maps.Equal(got, r.before) && !maps.Equal(got, r.after) {
		equal(t, "neither the old nor the new files", got, r.after)
	}
}

// finish runs the scenario again to its end and compares with the reference.
func (r reference) finish(t *testing.T, w *Writer, dir string, c *clock) {
	t.Helper()
	if err := r.run(w); err != nil {
		t.Fatalf("again: %v", err)
	}
	if r.steps {
		heal(w) // as Run does within seconds after something did not go through
	}
	if !equal(t, "seen after it was run again", visible(t, dir), r.after) {
		return
	}
	settle(w, c)
	equal(t, "left in the end", tree(t, dir), r.tree)
}

// reopen is the next process.
func (r reference) reopen(t *testing.T, dir string, c *clock) {
	t.Helper()
	opts := r.options(t, dir, c.Now)
	w, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, w)
	r.checkSeen(t, dir)
	if r.next != nil {
		r.run = r.next
	}
	r.finish(t, w, dir, c)
}

// Every call that changes something fails: it did nothing, or it failed but did
// happen; then the same process tries again, or the next one.
func TestFaultAtEveryCall(t *testing.T) {
	points, faults := 0, 0
	for _, s := range scenarios() {
		r := s.reference(t)
		points += len(r.points)
		for at := range r.points {
			faults += len(r.kinds(at))
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for at := range r.points {
				for _, kind := range r.kinds(at) {
					t.Run(fmt.Sprintf("%d %v %s", at, r.points[at], kind), func(t *testing.T) { r.fault(t, at, kind) })
				}
			}
		})
	}
	t.Logf("%d scenarios, %d calls, %d faults", len(scenarios()), points, faults)
}

// kinds are the ways to fail at a point: always both of the pair, going on in
// the same process in one and in the next process in the other, by turns.
func (r reference) kinds(at int) []string {
	kinds := []string{"not done", "done, and reopened"}
	if at%2 == 1 {
		kinds = []string{"not done, and reopened", "done"}
	}
	switch r.points[at].op {
	case "Mkdir", "Create", "Symlink", "file.Write", "Rename":
		kinds = append(kinds, "no space")
	}
	return kinds
}

func (r reference) fault(t *testing.T, at int, kind string) {
	dir, c := memoryDir(t), newClock()
	c.Add(time.Hour)
	r.prepare(t, dir)
	before := tree(t, dir)
	step := func(n int, _ call, do func() error) error {
		if n != at {
			return do()
		}
		switch kind {
		case "no space":
			return syscall.ENOSPC
		case "done", "done, and reopened":
			_ = do()
		}
		return errors.Join(errInjected, syscall.EIO)
	}
	w, seam, err := r.play(r.options(t, dir, c.Now), c, step)
	if w == nil {
		t.Fatal(err) // nothing that fails at start is a reason not to start
	}
	seam.reset(nil)
	r.checkSeen(t, dir)
	if err != nil && !r.steps {
		if r.name != "notified" && r.name != "notified, flat" && r.name[:4] != "comp" { // a failed sync leaves the new record
			equal(t, "left by a failed publish", tree(t, dir), before)
		}
	} else if !r.steps {
		equal(t, "seen after success", visible(t, dir), r.after)
	}
	switch kind {
	case "not done, and reopened", "done, and reopened":
		shut(t, w)
		r.reopen(t, dir, c)
	default:
		r.finish(t, w, dir, c)
		shut(t, w)
	}
}

// The process is killed before and after every call, for real; the next one
// goes on.
func TestKillAtEveryCall(t *testing.T) {
	killed := 0
	for _, s := range scenarios() {
		r := s.reference(t)
		for at := range r.points {
			killed += len(r.moments(at))
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for at := range r.points {
				for _, when := range r.moments(at) {
					t.Run(fmt.Sprintf("%s %d %v", when, at, r.points[at]), func(t *testing.T) {
						dir, c := memoryDir(t), newClock()
						c.Add(2 * time.Hour)
						r.prepare(t, dir)
						r.kill(t, dir, at, when)
						r.checkSeen(t, dir)
						r.reopen(t, dir, c)
					})
				}
			}
		})
	}
	t.Logf("%d kills", killed)
}

// moments are when to kill at a point. Just after one call the volume is as it
// is just before the next, as nothing but these calls changes it; after those
// that apps or the next start look for, both are done all the same.
func (r reference) moments(at int) []string {
	if op := r.points[at].op; op == "Rename" || op == "Symlink" || at == len(r.points)-1 {
		return []string{"before", "after"}
	}
	return []string{"before"}
}

func (r reference) kill(t *testing.T, dir string, at int, when string) {
	t.Helper()
	cmd := child("kill", r.name, dir, strconv.Itoa(at), when)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
}

// childRole is in the environment of a child: this test binary again.
const childRole = "SECRET_SYNC_WRITER_TEST_CHILD"

func child(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childRole+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// roles are what children do, with their arguments.
var roles = map[string]func(args []string) error{
	"kill": killChild, "full": fullChild, "inodes": inodesChild, "readonly": readOnlyChild, "user": userChild, "sticky": stickyChild,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func killChild(args []string) error {
	name, dir, when := args[0], args[1], args[3]
	at, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	for _, s := range scenarios() {
		if s.name != name {
			continue
		}
		c := newClock()
		c.Add(time.Hour)
		opts := childOptions(dir)
		opts.Flat, opts.now = s.flat, c.Now
		if s.mode != 0 {
			opts.FileMode = s.mode
		}
		_, _, err := s.play(opts, c, func(n int, _ call, do func() error) error {
			if n == at && when == "before" {
				die()
			}
			err := do()
			if n == at {
				die()
			}
			return err
		})
		return fmt.Errorf("it ended: %v", err)
	}
	return fmt.Errorf("no scenario %q", name)
}

func die() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}
