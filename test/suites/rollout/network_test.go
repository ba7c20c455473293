package rollout

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
	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// inNetworkNamespace is set when this process has a network of its own.
const inNetworkNamespace = "ROLLOUT_IN_NETWORK_NAMESPACE"

// TestMain runs the tests in a network namespace, where the addresses of 192.0.2.0/24,
// a network for documentation, are this machine's: the API server's Pod proxy refuses
// those of the loopback range. What needs the real network is built before.
func TestMain(m *testing.M) {
	if os.Getenv(inNetworkNamespace) == "" {
		os.Exit(inNamespace())
	}
	if err := useNetwork(); err != nil {
		fmt.Fprintln(os.Stderr, "rollout: set up the network:", err)
		os.Exit(1)
	}
	sidecartest.Main(m)
}

func inNamespace() int {
	if err := buildAll(); err != nil {
		fmt.Fprintln(os.Stderr, "rollout:", err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inNetworkNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	signal.Ignore(syscall.SIGINT) // the terminal sends it to both
	runtime.LockOSThread()        // the death signal comes when this thread ends
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintf(os.Stderr, "rollout: these tests make a network namespace: run them as root, or allow user namespaces: %v\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func buildAll() error {
	dir, err := os.MkdirTemp("", "secret-sync-rollout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := build.Sidecar(context.Background(), dir); err != nil {
		return err
	}
	_, err = controlplane.Build(context.Background(), os.Stderr)
	return err
}

// useNetwork brings the loopback device up, and makes all addresses of 192.0.2.0/24
// its own.
func useNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, step := range []struct {
		device  string
		request uint
		set     func(*unix.Ifreq) error
	}{
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
		{"lo:1", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{192, 0, 2, 1}) }},
		{"lo:1", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
	} {
		request, err := unix.NewIfreq(step.device)
		if err == nil {
			err = step.set(request)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, step.request, request)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.device, err)
		}
	}
	return nil
}
