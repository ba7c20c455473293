// Package waitcommand contains the flags and the output of `wait`, which secret-sync and the
// kubectl plugin share.
package waitcommand

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/internal/status"
)

// A Command contains the arguments of `wait`. The caller sets Options.API and the default of
// Options.Namespaces.
type Command struct {
	rollout.Options
	Format  string // text or json
	Timeout time.Duration
}

// AddFlags defines the flags of `wait`, except for those of the namespace and the output.
func (c *Command) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&c.Secret, "secret", "", "`name` of the Secret")
	flags.StringVar(&c.Selector, "selector", "", "label `selector` of the Pods; default: all users of the Secret")
	flags.StringVar(&c.Version, "version", "", "wait for this `resourceVersion`; default: the current version")
	flags.StringVar(&c.ChangedFrom, "changed-from", "", "first wait until the data differs from this `resourceVersion`")
	flags.DurationVar(&c.Timeout, "timeout", 2*time.Minute, "maximum wait")
	flags.BoolVar(&c.Direct, "direct", false, "connect to the addresses of the Pods, not through the API server")
	flags.DurationVar(&c.SignalGrace, "signal-grace", 5*time.Second, "time for the app to reload after a signal")
	flags.DurationVar(&c.StartGrace, "start-grace", 10*time.Second, "time for the kubelet to report a start")
	flags.BoolVar(&c.IgnoreOthers, "ignore-others", false, "ignore Pods without the sidecar")
	flags.BoolVar(&c.RequireNotified, "require-notified", false, "fail if a Pod has no notification target")
}

// Check reports all invalid arguments at once.
func (c *Command) Check() error {
	var invalid []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			invalid = append(invalid, fmt.Sprintf(format, args...))
		}
	}
	add(c.Secret == "", "--secret is missing: the name of the Secret")
	_, err := labels.Parse(c.Selector)
	add(err != nil, "--selector %q: %v", c.Selector, err)
	add(c.Version != "" && c.ChangedFrom != "", "--version and --changed-from exclude each other")
	for flag, version := range map[string]string{"version": c.Version, "changed-from": c.ChangedFrom} {
		if version != "" {
			add(!rollout.ValidVersion(version), "--%s %q: must be a resourceVersion of the Secret", flag, version)
			add(len(c.Namespaces) > 1, "--%s belongs to one Secret: use -n once", flag)
		}
	}
	add(c.Timeout <= 0, "--timeout must be positive")
	add(c.SignalGrace < 0 || c.StartGrace < 0, "--signal-grace and --start-grace must not be negative")
	add(c.Format != "text" && c.Format != "json", "-o %q: must be text or json", c.Format)
	if len(invalid) == 0 {
		return nil
	}
	slices.Sort(invalid)
	return errors.New(strings.Join(invalid, "\n"))
}

// A Progress displays the state of a wait.
type Progress interface {
	Show(r rollout.Result)
	End() // before the result is printed
}

// Run waits, and prints the result to out. It returns nil when every Pod uses the version. For
// text, the error lists the unfinished Pods.
func (c *Command) Run(ctx context.Context, out io.Writer, p Progress) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	began := time.Now()
	c.Progress = p.Show
	r, err := rollout.Wait(ctx, c.Options)
	p.End()
	took := time.Since(began).Round(time.Millisecond)
	if c.Format == "json" {
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
	if err == nil {
		_, err = fmt.Fprintf(out, "%s after %s\n", summary(r), took)
		return err
	}
	text := ""
	if r.Problem != "" {
		text = "\n" + r.Problem
	}
	for _, line := range missing(r) {
		text += "\nPod " + line
	}
	return fmt.Errorf("%w%s", err, text)
}
