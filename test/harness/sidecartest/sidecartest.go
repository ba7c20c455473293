// Package sidecartest runs the real secret-sync binary against a real API server
// in tests: what a Pod would give it, and what a test wants to see of it. One
// control plane serves all tests of a package; each test has a namespace of its
// own, so tests may run in parallel.
package sidecartest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

var (
	plane  *controlplane.ControlPlane
	binary string
)

// Main is to be called by TestMain. It starts the control plane, builds the
// binary, runs the tests and exits.
func Main(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidecartest:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "secret-sync-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // tests run the binary as another user
		return 0, err
	}
	if binary, err = build.Sidecar(ctx, dir); err != nil {
		return 0, err
	}
	if plane, err = controlplane.Start(ctx, controlplane.Options{Progress: os.Stderr}); err != nil {
		return 0, err
	}
	defer plane.Close()
	return m.Run(), nil
}

// ControlPlane is the one of this package.
func ControlPlane() *controlplane.ControlPlane { return plane }

// Binary is the path of secret-sync.
func Binary() string { return binary }

// patience is for things that take milliseconds, on a machine that is busy.
const patience = 20 * time.Second

// Until calls f until it gives nil, and fails the test when it does not in time.
func Until(t testing.TB, what string, f func() error) {
	t.Helper()
	UntilIn(t, patience, what, f)
}

// UntilIn is Until with another patience.
func UntilIn(t testing.TB, patience time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Throughout calls f again and again for this long, and fails the test as soon as
// it gives an error: for what must not happen.
func Throughout(t testing.TB, window time.Duration, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(window); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// Read gives the text of a file.
func Read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Write makes a file that only its owner reads.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Volume is a new folder on a memory file system, as the volume of a Pod is, or
// a temporary one where there is none. It is removed after the test.
func Volume(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "secret-sync-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return filepath.Clean(dir)
}
