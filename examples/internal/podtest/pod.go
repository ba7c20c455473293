//go:build programs

package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// pod is a scene whose sidecar and programs share a PID namespace, the first
// process of which is a pause program, as with shareProcessNamespace. All its
// processes end with the test.
type pod struct {
	*st.Scene
	t     *testing.T
	first *childprocess.Process
	log   *childprocess.Log // of the first process
	n     atomic.Int64      // the value of the Secret now
}

// newPod makes a pod with the Secret db, whose key n is "0".
func newPod(t *testing.T, env st.Env) *pod {
	t.Helper()
	all := st.Env{"SECRETSYNC_SECRETS": "db"}
	for k, v := range env {
		all[k] = v
	}
	p := &pod{Scene: st.New(t, all), t: t, log: &childprocess.Log{}}
	p.Put("db", data(0))
	cmd := exec.Command(compile(t, "pause"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	var err error
	if p.first, err = childprocess.Start(cmd); err != nil {
		t.Fatal(err, needsNamespaces)
	}
	t.Cleanup(p.first.Kill)
	st.Until(t, "pause", func() error {
		select {
		case <-p.first.Done():
			t.Fatal(p.log, needsNamespaces)
		default:
		}
		return says(p.log, "ready")
	})
	p.StartProcess = func(cmd *exec.Cmd) (*childprocess.Process, error) {
		return childprocess.StartIn(cmd, func() error { return enter(p.first.PID()) })
	}
	return p
}

const needsNamespaces = ": these tests make PID namespaces and mount /proc in them: they need root with CAP_SYS_ADMIN, or user namespaces"

// enter puts what this thread starts into the namespaces of a process.
func enter(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A mount namespace cannot be entered with a folder that threads share.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(fd, unix.CLONE_NEWPID|unix.CLONE_NEWNS)
}

// asFirst starts a program as the first process of a PID namespace of its own.
func asFirst(pause string) func(*exec.Cmd) (*childprocess.Process, error) {
	return func(cmd *exec.Cmd) (*childprocess.Process, error) {
		cmd.Path, cmd.Args = pause, append([]string{pause}, cmd.Args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
		return childprocess.Start(cmd)
	}
}

// data is the Secret db with the value n: as such, and as a line for nginx and
// for PostgreSQL.
func data(n int64) map[string]string {
	return map[string]string{
		"n":          fmt.Sprint(n),
		"nginx.conf": fmt.Sprintf("return 200 \"notified %d\\n\";\n", n),
		"pg.conf":    fmt.Sprintf("secretsync.n = %d\n", n),
	}
}

// rotate puts the next value and returns it.
func (p *pod) rotate() (int64, error) {
	n := p.n.Add(1)
	// Not by a read first, which Put would need for more than the data.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: data(n)}
	_, err := p.Secrets().Update(context.Background(), secret, metav1.UpdateOptions{})
	return n, err
}

// mustRotate is rotate in the test's own goroutine.
func (p *pod) mustRotate() int64 {
	p.t.Helper()
	n, err := p.rotate()
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// rotateEvery rotates until stop is called, or the test has ended.
func (p *pod) rotateEvery(d time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		for tick := time.NewTicker(d); ctx.Err() == nil; {
			if _, err := p.rotate(); err != nil {
				p.t.Error(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	stop = func() { cancel(); ended.Wait() }
	p.t.Cleanup(stop)
	return stop
}

// value is the path of the Secret's value, as a program reads it.
func (p *pod) value() string { return filepath.Join(p.Dir, "db", "n") }

// process is one in the pod, by its number there.
type process struct {
	pid         int
	comm, state string // state: Z for a zombie
}

// processes are those of the pod that are there now, but for its first one.
func (p *pod) processes() []process { return processesBeside(p.first.PID()) }

// processesBeside are those in the PID namespace that this process is the first of.
func processesBeside(one int) (all []process) {
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root/proc/[0-9]*", one))
	for _, dir := range dirs {
		status := readStatus(dir)
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid > 1 && len(status) > 0 {
			all = append(all, process{pid, first(status["Name"]), first(status["State"])})
		}
	}
	return all
}

// has reports whether a process of this name is in the pod.
func (p *pod) has(name string) bool {
	return slices.ContainsFunc(p.processes(), func(q process) bool { return q.comm == name })
}

// kill kills those of the pod that have another name than this, in vain if they
// are in the middle of a fork.
func (p *pod) kill(but string) {
	mine, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.first.PID()))
	if err != nil {
		p.t.Fatal(err)
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != mine || pid == p.first.PID() {
			continue
		}
		if first(readStatus(dir)["Name"]) != but {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// killAll kills what runs in the pod, but for its first process and the sidecar,
// and waits until it is gone: workers outlive a parent that is killed.
func (p *pod) killAll() {
	p.t.Helper()
	const sidecar = "secret-sync"
	st.Until(p.t, "programs end", func() error {
		if !slices.ContainsFunc(p.processes(), func(q process) bool { return q.comm != sidecar }) {
			return nil
		}
		p.kill(sidecar)
		return fmt.Errorf("%v still run", p.processes())
	})
}
