package sidecartest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// namespaceVariable is set in the process that runs the tests in new namespaces: "root"
// if the user outside is root, otherwise "user".
const namespaceVariable = "SIDECARTEST_IN_NAMESPACES"

// RealRoot reports whether the tests may run processes as any user. Root of a user
// namespace may not: the namespace maps no other user.
func RealRoot() bool { return os.Getuid() == 0 && os.Getenv(namespaceVariable) != "user" }

func (o Options) needsNewProcess() bool {
	if os.Getenv(namespaceVariable) != "" {
		return false
	}
	return o.Namespaces != 0 || o.NeedsRoot && os.Getuid() != 0
}

// enterNamespaces finishes the setup inside the new namespaces.
func (o Options) enterNamespaces() error {
	if o.Namespaces&syscall.CLONE_NEWNS != 0 {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make the mounts private: %w", err)
		}
	}
	if o.Prepare != nil {
		return o.Prepare()
	}
	return nil
}

// runInNamespaces runs this program again in the new namespaces and returns its exit
// code. A user who is not root becomes root of a new user namespace.
func (o Options) runInNamespaces() (int, error) {
	if err := buildAll(context.Background()); err != nil {
		return 0, err
	}
	if o.BeforeNamespaces != nil {
		if err := o.BeforeNamespaces(); err != nil {
			return 0, err
		}
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: o.Namespaces, Pdeathsig: syscall.SIGKILL}
	user := "root"
	if os.Getuid() != 0 {
		user = "user"
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	cmd.Env = append(os.Environ(), namespaceVariable+"="+user)
	signal.Ignore(syscall.SIGINT) // the terminal sends SIGINT to both processes
	runtime.LockOSThread()        // the death signal is sent when this thread ends
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return 0, fmt.Errorf("create namespaces: %w; run the tests as root or allow user namespaces", err)
	}
	return cmd.ProcessState.ExitCode(), nil
}

// buildAll builds the programs in the network of the machine: a new network namespace
// cannot download modules.
func buildAll(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "secret-sync-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := build.Sidecar(ctx, dir); err != nil {
		return err
	}
	_, err = controlplane.Build(ctx, *kubernetes, os.Stderr)
	return err
}

// Mount mounts source at dir until the test ends.
func Mount(t testing.TB, source, dir, kind string, flags uintptr, options string) {
	t.Helper()
	if err := unix.Mount(source, dir, kind, flags, options); err != nil {
		t.Fatalf("mount %s at %s: %v", source, dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// SmallVolume mounts a memory volume of this size at the scene's volume, like an
// emptyDir with a sizeLimit.
func (s *Scene) SmallVolume(size string) {
	s.T.Helper()
	Mount(s.T, "tmpfs", s.Dir, "tmpfs", 0, "mode=0777,size="+size)
}
