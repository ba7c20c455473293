// Package canary has tests only: it looks for the values of a Secret wherever the
// sidecar could show them, through every fault.
package canary

import (
	"os"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/internal/sidecartest"
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
	sidecartest.Main(m)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
