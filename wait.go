package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/internal/waitcommand"
)

// waitForPods runs `secret-sync wait`. It returns nil when every Pod uses the version.
func waitForPods(args []string, out io.Writer) error {
	var c waitcommand.Command
	flags := flag.NewFlagSet("wait", flag.ContinueOnError)
	c.AddFlags(flags)
	flags.Func("n", "`namespace`, may be repeated; default: POD_NAMESPACE, else as kubectl does",
		func(name string) error { c.Namespaces = append(c.Namespaces, name); return nil })
	flags.StringVar(&c.Format, "o", "text", "text or json")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	cluster, err := kube.ClusterConfig()
	if err == nil {
		cluster.UserAgent = "secret-sync-wait/" + buildVersion()
		c.API, err = kube.NewClient(cluster)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer c.API.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{namespaceOrDefault("")}
	}
	return c.Run(ctx, out, newProgress(os.Stderr))
}

// A progress shows the state of a wait. On a terminal it redraws a single line; otherwise it
// prints a line per change.
type progress struct {
	out      *os.File
	terminal bool
	last     string
}

func newProgress(out *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	return &progress{out: out, terminal: err == nil}
}

// Show displays the state, if it changed.
func (p *progress) Show(r rollout.Result) {
	line := waitcommand.Line(r)
	switch {
	case line == p.last:
	case p.terminal:
		fmt.Fprint(p.out, "\r\x1b[K"+line)
	default:
		fmt.Fprintln(p.out, line)
	}
	p.last = line
}

// End leaves the line of the terminal.
func (p *progress) End() {
	if p.terminal && p.last != "" {
		fmt.Fprintln(p.out)
	}
}
