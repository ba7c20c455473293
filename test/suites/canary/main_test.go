// Package canary contains only tests. They search every output of the sidecar for the
// values of a Secret, through every fault.
package canary

import (
	"os"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

type files = map[string]string

// patience is twice the sidecar's longest pause between two attempts.
const patience = 30 * time.Second

// TestMain is also the body of the process that reads /proc of the sidecar.
func TestMain(m *testing.M) {
	if pid := os.Getenv(readVariable); pid != "" {
		readProcess(pid)
		return
	}
	sidecartest.Main(m, sidecartest.Options{Parallel: 8})
}
