package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/internal/status"
)

// waitFlags are the arguments of `secret-sync wait`.
type waitFlags struct {
	rollout.Options
	format  string
	timeout time.Duration
}

func parseWaitFlags(args []string) (f waitFlags, err error) {
	flags := flag.NewFlagSet("wait", flag.ContinueOnError)
	flags.StringVar(&f.Secret, "secret", "", "`name` of the Secret")
	flags.StringVar(&f.Selector, "selector", "", "label `selector` of the Pods; default: every Pod that uses the Secret")
	flags.Func("n", "`namespace`, may be repeated; default: POD_NAMESPACE, else the namespace of the kubeconfig or service account",
		func(name string) error { f.Namespaces = append(f.Namespaces, name); return nil })
	flags.StringVar(&f.Version, "version", "", "wait for this `resourceVersion` of the Secret; default: the current version")
	flags.StringVar(&f.ChangedFrom, "changed-from", "", "first wait until the data differs from this `resourceVersion`")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "maximum wait")
	flags.BoolVar(&f.Direct, "direct", false, "connect to the addresses of the Pods, not through the API server")
	flags.DurationVar(&f.SignalGrace, "signal-grace", 5*time.Second, "time for the app to reload after a signal")
	flags.DurationVar(&f.StartGrace, "start-grace", 10*time.Second, "time for the kubelet to report that a container started")
	flags.BoolVar(&f.IgnoreOthers, "ignore-others", false, "ignore Pods without the sidecar")
	flags.BoolVar(&f.RequireNotified, "require-notified", false, "fail if a Pod has no notification target")
	flags.StringVar(&f.format, "o", "text", "text or json")
	if err := parseFlags(flags, args); err != nil {
		return f, err
	}
	return f, f.check()
}

// check reports all invalid arguments at once.
func (f *waitFlags) check() error {
	var invalid []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			invalid = append(invalid, fmt.Sprintf(format, args...))
		}
	}
	add(f.Secret == "", "--secret is missing: the name of the Secret")
	_, err := labels.Parse(f.Selector)
	add(err != nil, "--selector %q: %v", f.Selector, err)
	add(f.Version != "" && f.ChangedFrom != "", "--version and --changed-from exclude each other")
	for flag, version := range map[string]string{"version": f.Version, "changed-from": f.ChangedFrom} {
		add(version != "" && !rollout.ValidVersion(version), "--%s %q: must be a resourceVersion of the Secret", flag, version)
		add(version != "" && len(f.Namespaces) > 1, "--%s belongs to one Secret: use -n once", flag)
	}
	add(f.timeout <= 0, "--timeout must be positive")
	add(f.SignalGrace < 0 || f.StartGrace < 0, "--signal-grace and --start-grace must not be negative")
	add(f.format != "text" && f.format != "json", "-o %q: must be text or json", f.format)
	if len(invalid) == 0 {
		return nil
	}
	slices.Sort(invalid)
	return fmt.Errorf("%w: %s", errUsage, strings.Join(invalid, "\n"))
}

// waitForPods runs `secret-sync wait`. It returns nil when every Pod uses the version.
func waitForPods(args []string, out io.Writer) error {
	f, err := parseWaitFlags(args)
	if err != nil {
		return err
	}
	cluster, err := kube.ClusterConfig()
	if err == nil {
		cluster.UserAgent = "secret-sync-wait/" + buildVersion()
		f.API, err = kube.NewClient(cluster)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer f.API.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if len(f.Namespaces) == 0 {
		f.Namespaces = []string{namespaceOrDefault("")}
	}
	progress := newProgress(os.Stderr)
	f.Progress = progress.show
	began := time.Now()
	result, err := rollout.Wait(ctx, f.Options)
	progress.end()
	return f.report(out, result, time.Since(began), err)
}

// report prints the result. For text it adds the unfinished Pods to the error.
func (f *waitFlags) report(out io.Writer, r rollout.Result, took time.Duration, err error) error {
	took = took.Round(time.Millisecond)
	if f.format == "json" {
		document := struct {
			rollout.Result
			Seconds float64 `json:"seconds"`
			Error   string  `json:"error,omitempty"`
		}{Result: r, Seconds: took.Seconds()}
		if err != nil {
			document.Error = err.Error()
		}
		return errors.Join(err, status.WriteJSON(out, document))
	}
	if err != nil {
		return fmt.Errorf("%w%s", err, r.Missing())
	}
	_, err = fmt.Fprintf(out, "%s after %s\n", r.Summary(), took)
	return err
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

func (p *progress) show(r rollout.Result) {
	line := r.Progress()
	switch {
	case line == p.last:
	case p.terminal:
		fmt.Fprint(p.out, "\r\x1b[K"+line)
	default:
		fmt.Fprintln(p.out, line)
	}
	p.last = line
}

// end leaves the line of the terminal.
func (p *progress) end() {
	if p.terminal && p.last != "" {
		fmt.Fprintln(p.out)
	}
}
