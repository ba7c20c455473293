//go:build programs

// Package monitoring has tests only: the alert rules and the dashboard of
// examples/monitoring, on what real sidecars say of themselves. Prometheus' own
// programs read both: promtool tests the rules, a Prometheus answers the queries.
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

// program is the path of one of Prometheus' programs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: apt-get install -y --no-install-recommends prometheus", name)
	}
	return path
}
