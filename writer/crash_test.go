package writer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// A reference is a scenario together with its course when nothing interrupts it.
type reference struct {
	scenario
	calls         []call            // with an effect on the volume
	before, after map[string]string // the files of apps
	tree          map[string]string // the whole volume in the end, after all grace periods
}

func (s scenario) reference(t *testing.T) reference {
	t.Helper()
	r, dir, c := reference{scenario: s}, testsupport.MemoryDir(t), newClock()
	c.Add(time.Hour)
	s.prepare(t, dir)
	r.before = visible(t, dir)
	w, seam, err := s.run(s.options(quiet(testOptions(t, dir)), c), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.calls, r.after = seam.recorded(), visible(t, dir)
	seam.reset(nil)
	endGracePeriods(w, c)
	r.tree = tree(t, dir)
	shut(t, w)
	return r
}

// checkVisible fails the test unless apps see exactly the old or exactly the new
// files.
func (r reference) checkVisible(t *testing.T, dir string) {
	t.Helper()
	if got := visible(t, dir); !r.mixed && !maps.Equal(got, r.before) && !maps.Equal(got, r.after) {
		equal(t, "neither the old nor the new files", got, r.after)
	}
}

// finish performs an operation without interruption. The volume must then be as in
// the reference.
func (r reference) finish(t *testing.T, w *Writer, operation func(*Writer) error, dir string, c *clock) {
	t.Helper()
	if err := operation(w); err != nil {
		t.Fatalf("after the interruption: %v", err)
	}
	if r.mixed {
		reconcileAll(w) // as Run does within seconds after a failed repair
	}
	if !equal(t, "visible after the interruption", visible(t, dir), r.after) {
		return
	}
	endGracePeriods(w, c)
	equal(t, "in the end", tree(t, dir), r.tree)
}

// reopen finishes the scenario in the next process.
func (r reference) reopen(t *testing.T, dir string, c *clock) {
	t.Helper()
	w := opened(t, r.options(quiet(testOptions(t, dir)), c))
	defer shut(t, w)
	r.checkVisible(t, dir)
	operation := r.operation
	if r.next != nil {
		operation = r.next
	}
	r.finish(t, w, operation, dir, c)
}

// A fault is the failure of one call, and the process that continues.
type fault struct {
	err    error
	done   bool // the call takes effect nevertheless
	reopen bool // the next process continues, not the same one
}

func (f fault) String() string {
	return fmt.Sprintf("%v, done %v, reopen %v", f.err, f.done, f.reopen)
}

// faults returns the faults of a call: it has no effect, or it takes effect. The
// same process continues after the first fault and the next process after the
// second, or the reverse, in turn. A call that requires space also fails with
// ENOSPC.
func (r reference) faults(at int) []fault {
	io := errors.Join(errInjected, syscall.EIO)
	faults := []fault{{io, false, at%2 == 1}, {io, true, at%2 == 0}}
	switch r.calls[at].op {
	case "Mkdir", "Create", "Symlink", "file.Write", "Rename":
		faults = append(faults, fault{err: syscall.ENOSPC})
	}
	return faults
}

// TestCrash_faultAtEveryCall makes every changing call fail. Apps must see the old or the
// new files, and the same or the next process must finish the operation.
func TestCrash_faultAtEveryCall(t *testing.T) {
	calls, faults := 0, 0
	for _, s := range scenarios() {
		r := s.reference(t)
		calls += len(r.calls)
		for at := range r.calls {
			faults += len(r.faults(at))
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for at := range r.calls {
				for _, f := range r.faults(at) {
					t.Run(fmt.Sprintf("%d %v %v", at, r.calls[at], f), func(t *testing.T) { r.testFault(t, at, f) })
				}
			}
		})
	}
	t.Logf("%d scenarios, %d calls, %d faults", len(scenarios()), calls, faults)
}

func (r reference) testFault(t *testing.T, at int, f fault) {
	dir, c := testsupport.MemoryDir(t), newClock()
	c.Add(time.Hour)
	r.prepare(t, dir)
	before := tree(t, dir)
	w, seam, err := r.run(r.options(quiet(testOptions(t, dir)), c), c, func(n int, _ call, do func() error) error {
		if n != at {
			return do()
		}
		if f.done {
			_ = do()
		}
		return f.err
	})
	if w == nil {
		t.Fatal(err) // no failed write prevents a start
	}
	seam.reset(nil)
	r.checkVisible(t, dir)
	switch {
	case r.mixed:
	case err == nil:
		equal(t, "visible after success", visible(t, dir), r.after)
	case !r.writesRecordOnly():
		after := tree(t, dir)
		if r.oldFileMode != 0 { // Open sets the new mode of the record of notifications
			after[generation.NotifiedFile] = before[generation.NotifiedFile]
		}
		equal(t, "after a failed publish", after, before)
	}
	if f.reopen {
		shut(t, w)
		r.reopen(t, dir, c)
		return
	}
	r.finish(t, w, r.operation, dir, c)
	shut(t, w)
}

// writesRecordOnly reports whether the operation only replaces a record. After a
// failed sync the new record stays.
func (r reference) writesRecordOnly() bool {
	return strings.HasPrefix(r.name, "notified") || strings.HasPrefix(r.name, "complete")
}

// TestCrash_killAtEveryCall kills a process with SIGKILL before and after every changing
// call. Apps must see the old or the new files, and the next process must finish the
// operation.
func TestCrash_killAtEveryCall(t *testing.T) {
	killed := 0
	for _, s := range scenarios() {
		r := s.reference(t)
		for at := range r.calls {
			killed += len(r.moments(at))
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for at := range r.calls {
				for _, moment := range r.moments(at) {
					t.Run(fmt.Sprintf("%s %d %v", moment, at, r.calls[at]), func(t *testing.T) {
						dir, c := testsupport.MemoryDir(t), newClock()
						c.Add(2 * time.Hour)
						r.prepare(t, dir)
						r.kill(t, dir, at, moment)
						r.checkVisible(t, dir)
						r.reopen(t, dir, c)
					})
				}
			}
		})
	}
	t.Logf("%d kills", killed)
}

// moments returns when to kill the process around a call. The state after a call is
// the state before the next call, so "after" is redundant, except after the last
// call. It is tested nevertheless if apps and the next start see the effect of the
// call.
func (r reference) moments(at int) []string {
	if op := r.calls[at].op; op == "Rename" || op == "Symlink" || at == len(r.calls)-1 {
		return []string{"before", "after"}
	}
	return []string{"before"}
}

func (r reference) kill(t *testing.T, dir string, at int, moment string) {
	t.Helper()
	cmd := child("kill", r.name, dir, strconv.Itoa(at), moment)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
}

// childRole is the environment variable that makes this test binary a child with a
// role.
const childRole = "SECRET_SYNC_WRITER_TEST_CHILD"

func child(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childRole+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// roles are the functions of children.
var roles = map[string]func(args []string) error{
	"kill": killChild, "full": fullChild, "inodes": inodesChild, "readonly": readOnlyChild, "user": userChild,
	"sticky": stickyChild, "ready": readyChild, "descriptors": descriptorsChild,
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

// killChild performs a scenario and kills itself before or after a call.
func killChild(args []string) error {
	name, dir, moment := args[0], args[1], args[3]
	at, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	all := scenarios()
	i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
	if i < 0 {
		return fmt.Errorf("no scenario %q", name)
	}
	c := newClock()
	c.Add(time.Hour)
	_, _, err = all[i].run(all[i].options(childOptions(dir), c), c, func(n int, _ call, do func() error) error {
		if n == at && moment == "before" {
			die()
		}
		err := do()
		if n == at {
			die()
		}
		return err
	})
	return fmt.Errorf("the process was not killed: %v", err)
}

func die() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}
