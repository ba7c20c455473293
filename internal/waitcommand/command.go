// Package waitcommand contains the flags and the output of `wait`, which secret-sync and the kubectl plugin share.
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

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/internal/status"
)

// A Command contains the arguments of `wait`. The caller sets API, Progress and the default of Namespaces.
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
	var invalid []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			invalid = append(invalid, fmt.Errorf(format, args...))
		}
	}
	add(c.Secret == "", "--secret is missing: the name of the Secret")
	_, err := labels.Parse(c.Selector)
	add(err != nil, "--selector %q: %v", c.Selector, err)
	add(c.Version != "" && c.ChangedFrom != "", "--version and --changed-from exclude each other")
	invalidVersion := func(v string) bool { return v != "" && !rollout.ValidVersion(v) }
	const mustBe = "must be a resourceVersion of the Secret"
	add(invalidVersion(c.Version), "--version %q: "+mustBe, c.Version)
	add(invalidVersion(c.ChangedFrom), "--changed-from %q: "+mustBe, c.ChangedFrom)
	add(c.Version+c.ChangedFrom != "" && len(c.Namespaces) > 1,
		"--version and --changed-from belong to a Secret in a single namespace: use -n once")
	add(c.Timeout <= 0, "--timeout must be positive")
	add(c.SignalGrace < 0 || c.StartGrace < 0, "--signal-grace and --start-grace must not be negative")
	add(c.Format != "text" && c.Format != "json", "-o %q: must be text or json", c.Format)
	return errors.Join(invalid...)
}

// Run waits, and prints the result to out. It returns nil when every Pod uses the version. For text, the error lists
// the unfinished Pods.
func (c *Command) Run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := rollout.Wait(ctx, c.Options)
	switch {
	case c.Format == "json":
		return errors.Join(err, status.WriteJSON(out, r))
	case err == nil:
		_, err = fmt.Fprintf(out, "%s after %vs\n", summary(r), r.Seconds)
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

// summary describes a success in a single line.
func summary(r rollout.Result) string {
	var versions, unnotified []string
	for _, v := range r.Versions {
		versions = append(versions,
			fmt.Sprintf("version %s of Secret %s/%s (uid %s)", v.ResourceVersion, v.Namespace, v.Secret, v.UID))
	}
	for _, p := range r.Pods {
		if p.Unnotified {
			unnotified = append(unnotified, p.Name)
		}
	}
	text := fmt.Sprintf("all %d Pods are on %s", len(r.Pods), strings.Join(versions, ", "))
	if len(unnotified) > 0 {
		text += ": files in place, nobody was notified in " + strings.Join(brief.List(unnotified), ", ")
	}
	return text
}

// missing lists each unfinished Pod with its reason. If a Pod cannot become done, it lists only such Pods.
func missing(r rollout.Result) (pods []string) {
	final := slices.ContainsFunc(r.Pods, func(p rollout.PodState) bool { return p.Final })
	for _, p := range r.Pods {
		if !p.Done && p.Final == final {
			pods = append(pods, p.Name+": "+p.Reason)
		}
	}
	return pods
}

// Line describes the state of a Wait in a single line. It names the first unfinished Pod.
func Line(r rollout.Result) string {
	waiting := missing(r)
	line := fmt.Sprintf("%d of %d Pods are done", len(r.Pods)-len(waiting), len(r.Pods))
	if len(waiting) > 0 {
		line += ": waiting for " + waiting[0]
	}
	if r.Problem != "" {
		line += "; " + r.Problem
	}
	return line
}
