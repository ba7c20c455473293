// Package e2e has tests only: the real secret-sync binary against a real API
// server, seen from outside, by its files, notifications, logs and exit codes.
package e2e

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// targetVariable makes this test binary the process that the sidecar signals.
const targetVariable = "E2E_TARGET"

func TestMain(m *testing.M) {
	if os.Getenv(targetVariable) != "" {
		beTarget()
	}
	sidecartest.Main(m, sidecartest.Options{})
}

// beTarget prints a line for each HUP that it takes.
func beTarget() {
	hup := make(chan os.Signal, 16)
	signal.Notify(hup, syscall.SIGHUP)
	fmt.Println("ready")
	for range hup {
		fmt.Println("HUP")
	}
}
