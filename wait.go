package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	flags.StringVar(&f.Secret, "secret", "", "`name` of the Secret whose present version all Pods must have")
	flags.StringVar(&f.Selector, "selector", "", "label `selector` of the Pods")
	flags.StringVar(&f.Namespace, "n", "", "`namespace`; else POD_NAMESPACE, else that of the kubeconfig or service account")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "give up after this time")
	flags.BoolVar(&f.Direct, "direct", false, "ask the Pods at their addresses, not through the API server")
	flags.DurationVar(&f.SignalGrace, "signal-grace", 5*time.Second, "wait this long after the last signal: it is delivered without an answer")
	flags.BoolVar(&f.IgnoreOthers, "ignore-others", false, "Pods without the sidecar do not count")
	flags.StringVar(&f.format, "o", "text", "text or json")
	if err := parseFlags(flags, args); err != nil {
		return f, err
	}
	return f, f.check()
}

// check lists everything that is wrong at once.
func (f *waitFlags) check() error {
	var wrong []string
	if f.Secret == "" {
		wrong = append(wrong, "--secret is missing: the name of the Secret")
	}
	if selector, err := labels.Parse(f.Selector); err != nil {
		wrong = append(wrong, fmt.Sprintf("--selector %q: %v", f.Selector, err))
	} else if selector.Empty() {
		wrong = append(wrong, "--selector is missing: the labels of the Pods that use the Secret, such as app=shop")
	}
	if f.timeout <= 0 || f.SignalGrace < 0 {
		wrong = append(wrong, "--timeout is above 0, --signal-grace not below")
	}
	if f.format != "text" && f.format != "json" {
		wrong = append(wrong, fmt.Sprintf("-o %q: it is text or json", f.format))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", errUsage, strings.Join(wrong, "\n"))
	}
	return nil
}

// waitForPods is `secret-sync wait`: nil when every Pod is on the Secret's present
// version.
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
	progress := newProgress(os.Stderr)
	f.Progress, f.Namespace = progress.show, namespaceOrDefault(f.Namespace)
	began := time.Now()
	result, err := rollout.Wait(ctx, f.Options)
	progress.end()
	return f.report(out, result, time.Since(began), err)
}

// report writes how it ended to out, and adds each Pod that is not done to the error.
func (f *waitFlags) report(out io.Writer, r rollout.Result, took time.Duration, err error) error {
	if f.format == "json" {
		document := struct {
			rollout.Result
			Seconds float64 `json:"seconds"`
			Error   string  `json:"error,omitempty"`
		}{Result: r, Seconds: took.Round(time.Millisecond).Seconds()}
		if err != nil {
			document.Error = err.Error()
		}
		return errors.Join(err, status.WriteJSON(out, document))
	}
	if err == nil {
		_, err = fmt.Fprintf(out, "all %d Pods are on %s after %s\n", len(r.Pods), r.Version, took.Round(time.Millisecond))
		return err
	}
	var missing strings.Builder
	if r.Problem != "" {
		fmt.Fprintf(&missing, "\n%s", r.Problem)
	}
	for _, p := range r.Pods {
		if !p.Done {
			fmt.Fprintf(&missing, "\nPod %s: %s", p.Name, p.Reason)
		}
	}
	return fmt.Errorf("%w%s", err, missing.String())
}

// progressPods is how many Pods one line names.
const progressPods = 3

// progress shows how far a wait is: one line that is drawn again on a terminal,
// else a line for each change.
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
	line := progressLine(r)
	if line == p.last {
		return
	}
	p.last = line
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K"+line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

// end leaves the terminal's line.
func (p *progress) end() {
	if p.terminal && p.last != "" {
		fmt.Fprintln(p.out)
	}
}

func progressLine(r rollout.Result) string {
	done, missing := 0, []string(nil)
	for _, p := range r.Pods {
		switch {
		case p.Done:
			done++
		case len(missing) < progressPods:
			missing = append(missing, fmt.Sprintf("%s (%s)", p.Name, p.Reason))
		}
	}
	line := fmt.Sprintf("%d of %d Pods are done", done, len(r.Pods))
	if len(missing) > 0 {
		line += ": waiting for " + strings.Join(missing, ", ")
	}
	if more := len(r.Pods) - done - len(missing); more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	if r.Problem != "" {
		line += "; " + r.Problem
	}
	return line
}
