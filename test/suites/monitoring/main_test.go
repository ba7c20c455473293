//go:build programs

// Package monitoring contains only tests. They check the alert rules and the dashboard of
// examples/monitoring with the metrics of real sidecars. promtool tests the rules, and a real
// Prometheus evaluates the queries.
package monitoring

import (
	"os/exec"
	"syscall"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const folder = "../../../examples/monitoring/"

func TestMain(m *testing.M) {
	st.Main(m, st.Options{Parallel: 16, Namespaces: syscall.CLONE_NEWNS})
}

// program returns the path of a program of Prometheus.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test requires %s: apt-get install -y --no-install-recommends prometheus", name)
	}
	return path
}
