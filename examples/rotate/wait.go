package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A wait is the proof that every Pod uses a version of the Secret.
type wait struct {
	args []string
	run  func(ctx context.Context, version string) error
}

// waitCommand returns a wait that runs `secret-sync wait` with the given flags.
func waitCommand(secret string, flags []string) wait {
	path := cmp.Or(os.Getenv("ROTATE_SECRET_SYNC"), "/secret-sync")
	args := slices.Concat([]string{"wait", "--secret", secret}, flags)
	return wait{args: args, run: func(ctx context.Context, version string) error {
		cmd := exec.CommandContext(ctx, path, slices.Concat(args, []string{"--version", version})...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 5 * time.Second
		return cmd.Run()
	}}
}

// print prints the command for a dry run.
func (w wait) print(out io.Writer) {
	fmt.Fprintf(out, "secret-sync %s --version VERSION\n", strings.Join(w.args, " "))
}
