// Package e2e contains only tests. They run the real secret-sync binary with a real API
// server and check its files, notifications, logs and exit codes.
package e2e

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// targetVariable makes this test binary a target of the sidecar's signals.
const targetVariable = "E2E_TARGET"

func TestMain(m *testing.M) {
	if os.Getenv(targetVariable) != "" {
		beTarget()
	}
	sidecartest.Main(m, sidecartest.Options{Parallel: 12})
}

// beTarget prints a line for each HUP.
func beTarget() {
	hup := make(chan os.Signal, 16)
	signal.Notify(hup, syscall.SIGHUP)
	fmt.Println("ready")
	for range hup {
		fmt.Println("HUP")
	}
}
