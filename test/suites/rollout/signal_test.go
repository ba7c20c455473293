package rollout

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const waitLimit = 10 * time.Second

// A shell is an app: a shell script that runs under a name of its own. It knows the volume as $DIR, its
// program as $APP, and appends to the file $SEEN.
type shell struct {
	*childprocess.Process
	seen string
}

// loop keeps a shell running, so that it handles signals.
const loop = "while :; do sleep 0.02; done"

func shellName(t testing.TB) string {
	return fmt.Sprintf("sh%d-%s", os.Getpid()%10000, newAddress()[6:])
}

// startShell runs a script, and waits until it has written to $SEEN.
func startShell(t testing.TB, name string, r *replica, script string) *shell {
	t.Helper()
	dir := t.TempDir()
	program, seen := filepath.Join(dir, name), filepath.Join(dir, "seen")
	if err := os.Symlink("/bin/sh", program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", script)
	cmd.Env = append(os.Environ(), "DIR="+r.dir, "APP="+program, "SEEN="+seen)
	p, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL); p.Kill() })
	a := &shell{p, seen}
	testsupport.Eventually(t, "the start of the app", func() error {
		if a.text() == "" {
			return errors.New("nothing is written")
		}
		return nil
	})
	return a
}

func (a *shell) text() string {
	text, _ := os.ReadFile(a.seen)
	return string(text)
}

// signaledReplica returns a replica that signals the processes of the name.
func signaledReplica(t testing.TB, s *st.Scene, name string) *replica {
	t.Helper()
	return newReplica(t, s, "app", st.Env{
		"SECRETSYNC_WEBHOOK_URL": "", "SECRETSYNC_PROCESS": name, "SECRETSYNC_PROCESS_MIN_AGE": "0s",
		"SECRETSYNC_SIGNAL": "USR1",
	})
}

// TestWaitSignal_pending: the signal of a stopped process stays pending in the kernel. The process
// has not handled it, and the wait does not succeed before it does.
func TestWaitSignal_pending(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	name := shellName(t)
	r := signaledReplica(t, s, name)
	app := startShell(t, name, r, `trap 'cat $DIR/db/password >> $SEEN' USR1; echo start: >> $SEEN; `+loop)
	if err := app.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", map[string]string{"password": "1"})
	r.run.WaitLog("SIGUSR1 is pending for process")
	startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s", "--timeout", "3s").exits(1,
		"Pod app: process is not notified yet: signal pending")
	wait := startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s")
	if err := app.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait.exits(0, "all 1 Pods")
	testsupport.Eventually(t, "the app reads the password", func() error {
		if got := app.text(); got != "start:\n1" {
			return fmt.Errorf("the app has written %q", got)
		}
		return nil
	})
}

// TestWaitSignal_killed: the sidecar is killed after it sent the signal and before the process handled it. The next
// sidecar does not count the process as notified.
func TestWaitSignal_killed(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	name := shellName(t)
	r := signaledReplica(t, s, name)
	app := startShell(t, name, r, `trap 'cat $DIR/db/password >> $SEEN' USR1; echo start: >> $SEEN; `+loop)
	if err := app.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", map[string]string{"password": "1"})
	r.run.WaitLog("SIGUSR1 is pending for process")
	r.restart(s, nil)
	startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s", "--timeout", "5s").exits(1,
		"Pod app: process is not notified yet")
	if err := app.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s").exits(0, "all 1 Pods")
	testsupport.Eventually(t, "the app reads the password", func() error {
		if got := app.text(); !strings.HasSuffix(got, "1") {
			return fmt.Errorf("the app has written %q", got)
		}
		return nil
	})
}

// TestWaitSignal_ends: the app handles the signal, and ends at once or a moment later. It has not reloaded.
func TestWaitSignal_ends(t *testing.T) {
	t.Parallel()
	for handler, grace := range map[string]string{"exit 1": "5s", "sleep 1; exit 1": "0s"} {
		s, kubeconfig := newScene(t)
		name := shellName(t)
		r := signaledReplica(t, s, name)
		startShell(t, name, r, `trap '`+handler+`' USR1; echo start >> $SEEN; `+loop)
		s.SetSecret("db", map[string]string{"password": "1"})
		r.run.WaitLog("notified the app")
		startWait(t, s, kubeconfig, "--direct", "--signal-grace", grace, "--timeout", "8s").exits(1,
			"Pod app: process is not notified yet: ended")
	}
}

// TestWaitSignal_endsLate: the app is stopped for longer than it must survive its signal. It handles the signal later,
// and ends a moment after that.
func TestWaitSignal_endsLate(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	name := shellName(t)
	r := signaledReplica(t, s, name)
	app := startShell(t, name, r, `trap 'sleep 1; exit 1' USR1; echo start >> $SEEN; `+loop)
	if err := app.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", map[string]string{"password": "1"})
	r.run.WaitLog("SIGUSR1 is pending for process")
	wait := startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s", "--timeout", "12s")
	wait.running(4 * time.Second)
	if err := app.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait.exits(1, "Pod app: process is not notified yet") // on a busy machine: it no longer exists
}

// TestWaitSignal_grace: with a timeout shorter than the grace, the error names the reason.
func TestWaitSignal_grace(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", st.Env{"SECRETSYNC_WEBHOOK_URL": "", "SECRETSYNC_PROCESS": "nobody-is-called-so"})
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").exits(1,
		"its app was signaled; not done before the grace ends (--signal-grace 5s)")
}

// TestWaitSignal_successor: the app has started its program again, which has a worker of its own. The
// successor is signaled.
func TestWaitSignal_successor(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	name := shellName(t)
	r := signaledReplica(t, s, name)
	const successor = `trap "echo successor >> $SEEN" USR1; (` + loop + `) & echo start >> $SEEN; ` + loop
	app := startShell(t, name, r, `trap 'echo old >> $SEEN' USR1; FD=3 $APP -c '`+successor+`' & `+loop)
	s.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s").exits(0, "all 1 Pods")
	testsupport.Eventually(t, "the signal of the successor", func() error {
		if got := app.text(); got != "start\nsuccessor\n" {
			return fmt.Errorf("the app has written %q", got)
		}
		return nil
	})
}

// TestWaitSignal_doubtful: the app has started its program again, and /proc does not show whether this
// process replaces the app or works for it. The notification fails.
func TestWaitSignal_doubtful(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	name := shellName(t)
	r := signaledReplica(t, s, name)
	const child = `trap : USR1; echo start >> $SEEN; ` + loop
	app := startShell(t, name, r, `trap 'echo old >> $SEEN' USR1; FD=3 $APP -c '`+child+`' & `+loop)
	s.SetSecret("db", map[string]string{"password": "1"})
	r.run.WaitLog("set SECRETSYNC_PID_FILE")
	startWait(t, s, kubeconfig, "--direct", "--signal-grace", "0s", "--timeout", "3s").exits(1,
		"Pod app: process is not notified yet: successor")
	if strings.Contains(app.text(), "old") {
		t.Error("the app was signaled")
	}
}
