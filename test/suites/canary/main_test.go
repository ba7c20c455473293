// Package canary has tests only: it looks for the values of a Secret wherever the
// sidecar could show them, through every fault.
package canary

import (
	"os"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

type files = map[string]string

// patience is for the sidecar's longest pause between two tries, twice over.
const patience = 30 * time.Second

// TestMain is also the process that reads /proc of the sidecar.
func TestMain(m *testing.M) {
	if pid := os.Getenv(readVariable); pid != "" {
		readProcess(pid)
		return
	}
	sidecartest.Main(m, sidecartest.Options{})
}
