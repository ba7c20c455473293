//go:build programs

package troubleshooting

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// forbidden uses the Role for another Secret.
func forbidden(t *testing.T) *pod {
	p := newPod(t, st.Env{"SECRETSYNC_SECRETS": "cache"})
	p.run = p.Start(st.Env{"SECRETSYNC_SECRETS": "db"})
	p.waitLog()
	return p
}

// away restarts the sidecar while the API server is stopped.
func away(t *testing.T) *pod {
	p := newPod(t, nil)
	p.ready()
	p.run.Stop()
	p.wire.Cut()
	p.run = p.Start(nil)
	p.waitLog()
	return p
}

func missing(t *testing.T) *pod {
	p := newPod(t, nil)
	p.Delete("db")
	p.run = p.Start(nil)
	p.waitLog("waiting")
	p.waitMetric(`secretsync_watch_up{watch="secret/db"} 1`)
	return p
}

// deleted quotes no line: the key "level" would match any line at level info.
func deleted(t *testing.T) *pod {
	p := newPod(t, nil)
	p.ready()
	p.quoteFromHere()
	p.Delete("db")
	p.waitMetric(`secretsync_secret_present{secret="db"} 0`)
	return p
}

// subPath creates the bind mount of the kubelet: of the file at the end of the path.
func subPath(t *testing.T) *pod {
	p := newPod(t, st.Env{"SECRETSYNC_LAYOUT": "flat"})
	p.ready()
	mounted := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(mounted, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	st.Mount(t, filepath.Join(p.Dir, "password"), mounted, "", unix.MS_BIND, "")
	p.rotate()
	p.WaitFiles(map[string]string{"username": "app", "password": "2"})
	p.waitMetric("secretsync_generation 2")
	if text, err := os.ReadFile(mounted); err != nil || string(text) != "1" {
		t.Errorf("the subPath mount contains %q, %v, want the first value", text, err)
	}
	return p
}

// refreshed changes one of three keys five times.
func refreshed(t *testing.T) *pod {
	p := newPod(t, nil)
	for i := range 6 {
		p.SetSecret("db", map[string]string{"username": "app", "password": "1", "ttl": fmt.Sprint(i)})
		if i == 0 {
			p.ready()
		}
		p.waitMetric(fmt.Sprint("secretsync_generation ", i+1))
	}
	p.waitLog("key")
	return p
}

func lacksKey(t *testing.T) *pod {
	p := newPod(t, st.Env{"SECRETSYNC_REQUIRED_KEYS": "db/password"})
	p.ready()
	p.SetSecret("db", map[string]string{"username": "app"})
	p.waitLog()
	return p
}

func readOnly(t *testing.T) *pod {
	p := newPod(t, nil)
	st.Mount(t, p.Dir, p.Dir, "", unix.MS_BIND, "")
	if err := unix.Mount("", p.Dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	p.run = p.Start(nil)
	p.run.WaitExit(2, 10*time.Second)
	return p
}

func full(t *testing.T) *pod {
	p := newPod(t, nil)
	p.SmallVolume("256k")
	p.ready()
	p.SetSecret("db", map[string]string{"username": "app", "password": strings.Repeat("x", 900_000)})
	p.waitLog()
	return p
}

// othersFiles uses an init container that ran as root in a memory volume.
func othersFiles(t *testing.T) *pod {
	p := newPod(t, nil)
	if err := os.Chmod(p.Dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	p.Start(st.Env{"SECRETSYNC_ONE_SHOT": "true"}).WaitExit(0, 10*time.Second)
	p.rotate()
	p.run = p.StartAs(sidecarUser, nil)
	p.waitLog()
	p.waitMetric(`secretsync_publish_failures_total{reason="permission"} 1`)
	return p
}

// notified returns a pod whose sidecar notifies the process app. The programs of the Pod are
// started by start.
func notified(
	t *testing.T, as *syscall.Credential, start func(in func(*exec.Cmd) (*childprocess.Process, error)),
) *pod {
	t.Helper()
	p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "app", "SECRETSYNC_PROCESS_MIN_AGE": "0s"})
	in := podOf(t)
	start(in)
	p.StartProcess = in
	p.run = p.StartAs(as, nil)
	p.waitMetric(`secretsync_watch_up{watch="secret/db"} 1`)
	p.rotate()
	return p
}

func othersProcess(t *testing.T) *pod {
	p := notified(t, sidecarUser, func(in func(*exec.Cmd) (*childprocess.Process, error)) {
		process(t, in, otherUser, "app", roleHandler, self())
	})
	p.waitMetric(fmt.Sprintf(pending, "process"))
	p.waitLog()
	return p
}

func noProcess(t *testing.T) *pod {
	p := notified(t, nil, func(in func(*exec.Cmd) (*childprocess.Process, error)) {
		process(t, in, nil, "application", roleHandler, self())
	})
	p.waitLog()
	return p
}

// notShared runs the sidecar as PID 1 of its own PID namespace.
func notShared(t *testing.T) *pod {
	p := newPod(t, st.Env{"SECRETSYNC_PROCESS": "app"})
	p.StartProcess = func(cmd *exec.Cmd) (*childprocess.Process, error) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
		cmd.Env = append(cmd.Env, roleVariable+"="+roleContainer)
		cmd.Path, cmd.Args = self(), append([]string{cmd.Path}, cmd.Args...)
		return childprocess.Start(cmd)
	}
	p.ready()
	p.rotate()
	p.waitLog()
	return p
}

func noHandler(t *testing.T) *pod {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	p := notified(t, nil, func(in func(*exec.Cmd) (*childprocess.Process, error)) {
		process(t, in, nil, "app", "", sleep, "infinity")
	})
	p.waitLog()
	return p
}

// killed uses an app without a handler, whose Go runtime handles HUP.
func killed(t *testing.T) *pod {
	var app *childprocess.Process
	p := notified(t, nil, func(in func(*exec.Cmd) (*childprocess.Process, error)) {
		app = process(t, in, nil, "app", roleDeaf, self())
	})
	p.waitMetric(`secretsync_notifications_total{target="process",result="failure"} 1`)
	if got := app.State(); got != "signal: hangup" {
		t.Errorf("the app ended with %q, want the signal", got)
	}
	return p
}

func hookDown(t *testing.T) *pod {
	p := newPod(t, st.Env{"SECRETSYNC_WEBHOOK_URL": "http://" + st.OwnAddr() + "/reload"})
	p.ready()
	p.rotate()
	p.waitLog()
	return p
}
