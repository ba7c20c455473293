//go:build programs

// Package troubleshooting contains only tests. docs/troubleshooting.md quotes the output of
// the program. The tests reproduce each symptom and compare the log, the metrics and the
// Events with the page, in both directions. After a change of a message:
//
//	go test -C test -tags programs ./suites/troubleshooting -update
package troubleshooting

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var update = flag.Bool("update", false, "write what the program says into the page")

// roleVariable makes this test binary a process of a Pod.
const roleVariable = "TROUBLESHOOTING_ROLE"

const (
	rolePause     = "pause"     // the sandbox: PID 1 of the shared namespace
	roleContainer = "container" // a container with its own namespace: runs its arguments
	roleHandler   = "handler"   // an app with a handler for HUP
	roleDeaf      = "deaf"      // a Go app without a handler
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	st.Main(m, st.Options{Parallel: 16, Namespaces: syscall.CLONE_NEWNS})
}

// play prints a message when it is ready, and stays.
func play(role string) error {
	os.Unsetenv(roleVariable)
	switch role {
	case rolePause, roleContainer:
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return fmt.Errorf("mount /proc: %w", err)
		}
		if role == roleContainer {
			return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
		}
	case roleHandler:
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	fmt.Println("ready")
	for {
		unix.Pause()
	}
}
