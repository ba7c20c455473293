package rollout

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
	"github.com/secret-sync/secret-sync/internal/status"
)

// AddFlags defines the flags of `wait` in secret-sync and the kubectl plugin, except for those of the namespace and the
// output. The caller sets API and Progress.
func (o *Options) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Secret, "secret", "", "`name` of the Secret")
	flags.StringVar(&o.Selector, "selector", "", "label `selector` of the Pods; default: all users of the Secret")
	flags.StringVar(&o.Version, "version", "", "wait for this `resourceVersion`; default: the current version")
	flags.StringVar(&o.ChangedFrom, "changed-from", "", "first wait until the data differs from this `resourceVersion`")
	flags.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "maximum wait")
	flags.BoolVar(&o.Direct, "direct", false, "connect to the addresses of the Pods, not through the API server")
	flags.DurationVar(&o.SignalGrace, "signal-grace", 5*time.Second, "time for the app to reload after a signal")
	flags.DurationVar(&o.StartGrace, "start-grace", 10*time.Second, "time for the kubelet to report a start")
	flags.BoolVar(&o.IgnoreOthers, "ignore-others", false, "ignore Pods without the sidecar")
	flags.BoolVar(&o.RequireNotified, "require-notified", false, "fail if a Pod has no notification target")
}

// Check reports all invalid arguments at once.
func (o *Options) Check() error {
	var invalid []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			invalid = append(invalid, fmt.Errorf(format, args...))
		}
	}
	add(o.Secret == "", "--secret is missing: the name of the Secret")
	_, err := labels.Parse(o.Selector)
	add(err != nil, "--selector %q: %v", o.Selector, err)
	add(o.Version != "" && o.ChangedFrom != "", "--version and --changed-from exclude each other")
	invalidVersion := func(v string) bool { return v != "" && !atMost(v, v) }
	const mustBe = "must be a resourceVersion of the Secret"
	add(invalidVersion(o.Version), "--version %q: "+mustBe, o.Version)
	add(invalidVersion(o.ChangedFrom), "--changed-from %q: "+mustBe, o.ChangedFrom)
	add(o.Version+o.ChangedFrom != "" && len(o.Namespaces) > 1,
		"--version and --changed-from belong to a Secret in a single namespace: use -n once")
	add(o.Timeout <= 0, "--timeout must be positive")
	add(o.SignalGrace < 0 || o.StartGrace < 0, "--signal-grace and --start-grace must not be negative")
	add(o.Format != "text" && o.Format != "json", "-o %q: must be text or json", o.Format)
	return errors.Join(invalid...)
}

// Run waits for at most Timeout, and prints the result to out. It returns nil when every Pod uses the version. For
// text, the error lists the unfinished Pods.
func (o *Options) Run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	r, err := Wait(ctx, *o)
	switch {
	case o.Format == "json":
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
func summary(r Result) string {
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
func missing(r Result) (pods []string) {
	final := slices.ContainsFunc(r.Pods, func(p PodState) bool { return p.Final })
	for _, p := range r.Pods {
		if !p.Done && p.Final == final {
			pods = append(pods, p.Name+": "+p.Reason)
		}
	}
	return pods
}

// Line describes the state of a Wait in a single line. It names the first unfinished Pod.
func Line(r Result) string {
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
