package rollout

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// TestMain runs the tests in a network namespace, where the addresses of 192.0.2.0/24,
// a network for documentation, are this machine's: the API server's Pod proxy refuses
// addresses of the loopback range. Programs are built before, in the real network.
func TestMain(m *testing.M) {
	sidecartest.Main(m, sidecartest.Options{
		Namespaces: syscall.CLONE_NEWNET, BeforeNamespaces: buildAll, Prepare: useNetwork,
	})
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
	if _, err := buildPlugin(context.Background(), dir); err != nil {
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
