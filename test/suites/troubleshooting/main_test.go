//go:build programs

// Package troubleshooting has tests only: docs/troubleshooting.md quotes what the program
// says. Each symptom is brought about for real, and what the sidecar logs, measures
// and writes as Events is compared with the page, both ways. After a change of words:
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

// roleVariable makes this test binary one of the processes of a Pod.
const roleVariable = "TROUBLESHOOTING_ROLE"

const (
	rolePause     = "pause"     // the sandbox: PID 1 of the shared namespace
	roleContainer = "container" // a container with a namespace of its own: becomes its arguments
	roleHandler   = "handler"   // an app that asks for HUP
	roleDeaf      = "deaf"      // an app in Go that does not
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

// play says that it is ready, and stays.
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
