package sidecartest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace is set in the process that MainWithMounts runs the tests in.
const inNamespace = "SIDECARTEST_IN_NAMESPACE"

// MainWithMounts is Main for tests that mount volumes: in a mount namespace of their
// own, which ends with them. A user who is not root becomes root of a user namespace.
func MainWithMounts(m *testing.M) {
	flag.Parse()
	if os.Getenv(inNamespace) == "" {
		os.Exit(again())
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "sidecartest: make the mounts private:", err)
		os.Exit(1)
	}
	Main(m)
}

// RealRoot reports whether the tests may use other users than their own.
func RealRoot() bool { return os.Getenv(inNamespace) == "root" }

// again runs this program in the namespaces, and gives its exit code.
func again() int {
	if os.Getuid() != 0 {
		return InNamespaces(syscall.CLONE_NEWNS|syscall.CLONE_NEWUSER, inNamespace+"=user")
	}
	return InNamespaces(syscall.CLONE_NEWNS, inNamespace+"=root")
}

// InNamespaces runs this program again with one more variable, in new namespaces of
// these kinds (CLONE_NEWNS, …), and gives its exit code. In a user namespace it is root.
func InNamespaces(kinds uintptr, variable string) int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), variable)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: kinds, Pdeathsig: syscall.SIGKILL}
	if kinds&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	signal.Ignore(syscall.SIGINT) // the terminal sends it to both
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintf(os.Stderr, "sidecartest: these tests make namespaces: they need root, or user namespaces: %v\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// Mount mounts something at a folder until the test ends.
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

// SmallVolume mounts a memory volume of this size at the scene's, as an emptyDir with
// a sizeLimit.
func (s *Scene) SmallVolume(size string) {
	s.T.Helper()
	Mount(s.T, "tmpfs", s.Dir, "tmpfs", 0, "mode=0777,size="+size)
}
