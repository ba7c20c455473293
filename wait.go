package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

// waitFlags are the arguments of `secret-sync wait`.
type waitFlags struct {
	secret, selector, namespace, format string
	timeout, grace                      time.Duration
	direct, ignoreOthers                bool
}

func parseWaitFlags(args []string) (f waitFlags, err error) {
	flags := flag.NewFlagSet("wait", flag.ContinueOnError)
	flags.StringVar(&f.secret, "secret", "", "`name` of the Secret whose present version all Pods must have")
	flags.StringVar(&f.selector, "selector", "", "label `selector` of the Pods")
	flags.StringVar(&f.namespace, "n", "", "`namespace`; else POD_NAMESPACE, else that of the kubeconfig or service account")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "give up after this time")
	flags.BoolVar(&f.direct, "direct", false, "ask the Pods at their addresses, not through the API server")
	flags.DurationVar(&f.grace, "signal-grace", 5*time.Second, "wait this long after the last signal: it is delivered without an answer")
	flags.BoolVar(&f.ignoreOthers, "ignore-others", false, "Pods without the sidecar do not count")
	flags.StringVar(&f.format, "o", "text", "text or json")
	if err := parseFlags(flags, args); err != nil {
		return f, err
	}
	return f, f.check()
}

// check lists everything that is wrong at once.
func (f *waitFlags) check() error {
	var wrong []string
	if f.secret == "" {
		wrong = append(wrong, "--secret is missing: the name of the Secret")
	}
	if selector, err := labels.Parse(f.selector); err != nil {
		wrong = append(wrong, fmt.Sprintf("--selector %q: %v", f.selector, err))
	} else if selector.Empty() {
		wrong = append(wrong, "--selector is missing: the labels of the Pods that use the Secret, such as app=shop")
	}
	if f.timeout <= 0 || f.grace < 0 {
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
	cluster, err := kubeapi.ClusterConfig()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	cluster.UserAgent = "secret-sync-wait/" + buildVersion()
	api, err := kubeapi.NewClient(cluster)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer api.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	progress := newProgress(os.Stderr)
	began := time.Now()
	result, err := rollout.Wait(ctx, rollout.Options{
		API: api, Namespace: namespaceOrDefault(f.namespace), Secret: f.secret, Selector: f.selector, Direct: f.direct,
		IgnoreOthers: f.ignoreOthers, SignalGrace: f.grace, Progress: progress.show,
	})
	progress.end()
	return f.report(out, result, time.Since(began), err)
}

// namespaceOrDefault is the namespace that a flag names, or the present one.
func namespaceOrDefault(flag string) string {
	if flag != "" {
		return flag
	}
	if name := os.Getenv("POD_NAMESPACE"); name != "" {
		return name
	}
	return kubeapi.Namespace()
}

// report says how it ended: on out, and in the error each Pod that is not done.
func (f *waitFlags) report(out io.Writer, r rollout.Result, took time.Duration, err error) error {
	if f.format == "json" {
		document := struct {
			rollout.Result
			Seconds float64 `json:"seconds"`
			Error   string  `json:"error,omitempty"`
		}{r, took.Round(time.Millisecond).Seconds(), text(err)}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return errors.Join(err, encoder.Encode(document))
	}
	if err == nil {
		_, err = fmt.Fprintf(out, "all %d Pods are on %s after %s\n", len(r.Pods), r.Version, took.Round(time.Millisecond))
		return err
	}
	lines := []string{err.Error()}
	if r.Problem != "" {
		lines = append(lines, r.Problem)
	}
	for _, p := range r.Pods {
		if !p.Done {
			lines = append(lines, fmt.Sprintf("Pod %s: %s", p.Name, p.Reason))
		}
	}
	return &waitError{strings.Join(lines, "\n"), err}
}

// waitError is the error of a wait with the list of the Pods.
type waitError struct {
	text string
	err  error
}

func (e *waitError) Error() string { return e.text }
func (e *waitError) Unwrap() error { return e.err }

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
