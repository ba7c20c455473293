// Package sidecartest runs the real secret-sync binary against a real API server in
// tests. A Scene stands for a Pod: it has a namespace, a service account, a volume and
// an environment. A single control plane serves all tests of a package. Tests may run
// in parallel, because each Scene has a namespace of its own.
package sidecartest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

var (
	plane      *controlplane.ControlPlane
	binary     string
	kubernetes = flag.String("kubernetes", "", "the `version` of kube-apiserver, such as v1.34.4; "+
		"empty: the version of test/servers/controlplane")
)

// Options describes the process in which Main runs the tests.
type Options struct {
	// Parallel is the number of simultaneous tests. Zero keeps the
	// default of go test. Most end-to-end tests wait more than they compute.
	Parallel int
	// Alone makes the suite wait while another suite with this option runs on the machine. Side by side, suites that
	// compute all the time would delay each other beyond the time limits of their tests.
	Alone bool
	// NeedsRoot runs the tests as root of a new user namespace if the user is not root.
	NeedsRoot bool
	// Namespaces are flags of clone(2), such as CLONE_NEWNS. If set, the tests run in
	// a new process with these namespaces, and NeedsRoot is implied.
	Namespaces uintptr
	// BeforeNamespaces runs outside the new namespaces, for example to download. The
	// servers and the binary are built before it.
	BeforeNamespaces func() error
	// Prepare runs before the control plane starts, inside the new namespaces.
	Prepare func() error
}

// Main is the body of every TestMain. It starts the control plane, builds the binary,
// runs the tests and exits.
func Main(m *testing.M, o Options) {
	flag.Parse()
	code, err := o.run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidecartest:", err)
		code = 1
	}
	os.Exit(code)
}

func (o Options) run(m *testing.M) (int, error) {
	if o.needsNewProcess() {
		return o.runInNamespaces()
	}
	if err := o.enterNamespaces(); err != nil {
		return 0, err
	}
	if o.Alone {
		release, err := waitAlone()
		if err != nil {
			return 0, err
		}
		defer release()
	}
	if o.Parallel > 0 {
		if err := flag.Set("test.parallel", strconv.Itoa(o.Parallel)); err != nil {
			return 0, err
		}
	}
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
	options := controlplane.Options{Version: *kubernetes, Progress: os.Stderr}
	if plane, err = controlplane.Start(ctx, options); err != nil {
		return 0, err
	}
	defer plane.Close()
	return m.Run(), nil
}

// ControlPlane returns the control plane of this package's tests.
func ControlPlane() *controlplane.ControlPlane { return plane }

// Binary returns the path of the secret-sync binary.
func Binary() string { return binary }

// Throughout polls check for the given time and fails the test at the first error. It shows
// that a forbidden state does not occur.
func Throughout(t testing.TB, duration time.Duration, condition string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(duration); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err := check(); err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
	}
}

// Read returns the text of a file.
func Read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Write writes a file readable only by its owner.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
