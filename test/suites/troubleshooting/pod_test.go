//go:build programs

package troubleshooting

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// The users of the sidecar and of an app with another UID.
var sidecarUser, otherUser = user(65532), user(65533)

func user(id uint32) *syscall.Credential { return &syscall.Credential{Uid: id, Gid: id} }

// process starts this test binary, or another program, under another name. If it has a role,
// process waits until it is ready.
func process(
	t *testing.T, start func(*exec.Cmd) (*childprocess.Process, error), as *syscall.Credential,
	name, role, program string, args ...string,
) *childprocess.Process {
	t.Helper()
	path := filepath.Join(testsupport.MemoryDir(t), name)
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	cmd, log := exec.Command(path, args...), &testsupport.Log{}
	cmd.Env, cmd.Dir = []string{roleVariable + "=" + role}, "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if role == rolePause {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	}
	p, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	testsupport.Eventually(t, name+" is ready", func() error {
		if role != "" && !strings.Contains(log.String(), "ready") {
			return fmt.Errorf("%q", log.Tail(3))
		}
		return nil
	})
	return p
}

// self is a copy of this test binary for other users. Another process copies it: a
// file cannot be executed while a forked process holds it open for writing.
var self = sync.OnceValue(func() string {
	path := filepath.Join(filepath.Dir(st.Binary()), "processes")
	if out, err := exec.Command("cp", "/proc/"+fmt.Sprint(os.Getpid())+"/exe", path).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("copy the test binary: %v: %s", err, out))
	}
	return path
})

// podOf creates the PID namespace of a Pod with a shared namespace, and starts programs in it.
func podOf(t *testing.T) func(*exec.Cmd) (*childprocess.Process, error) {
	t.Helper()
	pause := process(t, childprocess.Start, nil, rolePause, rolePause, self()).PID()
	return func(cmd *exec.Cmd) (*childprocess.Process, error) {
		return childprocess.StartIn(cmd, func() error { return enter(pause) })
	}
}

// enter moves the children of this thread into the namespaces of a process.
func enter(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // required for entering the mount namespace
		return err
	}
	return unix.Setns(fd, unix.CLONE_NEWPID|unix.CLONE_NEWNS)
}
