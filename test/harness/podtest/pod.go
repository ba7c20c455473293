package podtest

import (
	"context"
	"fmt"
	"maps"
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

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A Pod is a scene whose sidecar and programs share a PID namespace, as with
// shareProcessNamespace. PID 1 is a pause program. All its processes end with the test.
type Pod struct {
	*st.Scene
	FirstLog *testsupport.Log // the log of PID 1, which prints "notified" at HUP

	first *childprocess.Process
	n     atomic.Int64 // the current value of the Secret
}

// New returns a pod with the Secret db, whose key n is "0". The sidecar watches this Secret
// unless env says otherwise.
func New(t testing.TB, env st.Env) *Pod {
	t.Helper()
	p := prepare(t, env)
	cmd := exec.Command(compileOwn(t, "pause"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	cmd.Stdout, cmd.Stderr = p.FirstLog, p.FirstLog
	var err error
	if p.first, err = childprocess.Start(cmd); err != nil {
		t.Fatal(err, needsNamespaces)
	}
	t.Cleanup(p.first.Kill)
	testsupport.Eventually(t, "pause", func() error {
		select {
		case <-p.first.Done():
			t.Fatal(p.FirstLog, needsNamespaces)
		default:
		}
		return LogContains(p.FirstLog, "ready")
	})
	p.StartProcess = func(cmd *exec.Cmd) (*childprocess.Process, error) {
		return childprocess.StartIn(cmd, func() error { return enter(p.first.PID()) })
	}
	return p
}

// NewAlone returns a pod without a shared namespace: the sidecar is PID 1 of its own PID
// namespace, and no programs can be started.
func NewAlone(t testing.TB, env st.Env) *Pod {
	t.Helper()
	p := prepare(t, env)
	p.StartProcess = asFirst(compileOwn(t, "pause"))
	return p
}

func prepare(t testing.TB, env st.Env) *Pod {
	t.Helper()
	all := st.Env{"SECRETSYNC_SECRETS": "db"}
	maps.Copy(all, env)
	p := &Pod{Scene: st.New(t, all), FirstLog: &testsupport.Log{}}
	p.SetSecret("db", data(0))
	return p
}

const needsNamespaces = ": these tests create PID namespaces and mount /proc in them; " +
	"run them as root with CAP_SYS_ADMIN, or allow user namespaces"

// enter moves the children of this thread into the namespaces of a process.
func enter(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A thread with a shared working directory cannot enter a mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(fd, unix.CLONE_NEWPID|unix.CLONE_NEWNS)
}

// asFirst starts a program as PID 1 of a new PID namespace.
func asFirst(pause string) func(*exec.Cmd) (*childprocess.Process, error) {
	return func(cmd *exec.Cmd) (*childprocess.Process, error) {
		cmd.Path, cmd.Args = pause, append([]string{pause}, cmd.Args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
		return childprocess.Start(cmd)
	}
}

// data returns the Secret db with the value n: plain, and as a line for nginx and for
// PostgreSQL.
func data(n int64) map[string]string {
	return map[string]string{
		"n":          fmt.Sprint(n),
		"nginx.conf": fmt.Sprintf("return 200 \"notified %d\\n\";\n", n),
		"pg.conf":    fmt.Sprintf("secretsync.n = %d\n", n),
	}
}

// Rotate sets the next value and returns it.
func (p *Pod) Rotate() (int64, error) {
	n := p.n.Add(1)
	// Put would read the Secret first, so update it directly.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: data(n)}
	_, err := p.Secrets().Update(context.Background(), secret, metav1.UpdateOptions{})
	return n, err
}

// MustRotate is Rotate for the goroutine of the test.
func (p *Pod) MustRotate() int64 {
	p.T.Helper()
	n, err := p.Rotate()
	if err != nil {
		p.T.Fatal(err)
	}
	return n
}

// RotateEvery rotates until stop is called or the test ends.
func (p *Pod) RotateEvery(d time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		for tick := time.NewTicker(d); ctx.Err() == nil; {
			if _, err := p.Rotate(); err != nil {
				p.T.Error(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	stop = func() { cancel(); ended.Wait() }
	p.T.Cleanup(stop)
	return stop
}

// Last returns the last value.
func (p *Pod) Last() int64 { return p.n.Load() }

// Value returns the path of the Secret's value for a program.
func (p *Pod) Value() string { return filepath.Join(p.Dir, "db", "n") }

// A Process is a process in a PID namespace, with its number there.
type Process struct {
	PID         int
	Comm, State string // State: Z for a zombie
}

// Processes returns the current processes of the pod, without PID 1.
func (p *Pod) Processes() []Process { return Beside(p.first.PID()) }

// Beside returns the processes in the PID namespace whose PID 1 is the given process.
func Beside(pid1 int) (all []Process) {
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root/proc/[0-9]*", pid1))
	for _, dir := range dirs {
		status := readStatus(dir)
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid > 1 && len(status) > 0 {
			all = append(all, Process{pid, first(status["Name"]), first(status["State"])})
		}
	}
	return all
}

// Has reports whether the pod contains a process with this name.
func (p *Pod) Has(name string) bool {
	return slices.ContainsFunc(p.Processes(), func(q Process) bool { return q.Comm == name })
}

// kill kills the processes of the pod except those with the given name. It may miss a child
// during its fork.
func (p *Pod) kill(but string) {
	mine, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.first.PID()))
	if err != nil {
		p.T.Fatal(err)
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

// KillAll kills the processes in the pod, except PID 1 and the sidecar, and waits for their
// end. Workers can outlive a killed parent.
func (p *Pod) KillAll() {
	p.T.Helper()
	const sidecar = "secret-sync"
	testsupport.Eventually(p.T, "the end of the programs", func() error {
		if !slices.ContainsFunc(p.Processes(), func(q Process) bool { return q.Comm != sidecar }) {
			return nil
		}
		p.kill(sidecar)
		return fmt.Errorf("%v still run", p.Processes())
	})
}
