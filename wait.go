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
)

// waitForPods runs `secret-sync wait`. It returns nil when every Pod uses the version.
func waitForPods(args []string, out io.Writer) error {
	var c rollout.Options
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
		c.Namespaces = []string{kube.Namespace()}
	}
	c.Progress = newProgress()
	return c.Run(ctx, out)
}

// newProgress returns a function that shows the state of a wait on standard error. On a terminal it redraws a single
// line; otherwise it prints a line per change.
func newProgress() func(rollout.Result) {
	format, end, last := "%s\n", "", ""
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err == nil {
		format, end = "\r\x1b[K%s", "\n"
	}
	return func(r rollout.Result) {
		if line := rollout.Line(r); r.Error == "" && line != last {
			last = line
			fmt.Fprintf(os.Stderr, format, line)
		}
		if r.Done || r.Error != "" {
			fmt.Fprint(os.Stderr, end)
		}
	}
}
