package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/internal/status"
)

// A table prints a survey: the versions at the top, then a row per sidecar, and a row per Pod
// without a sidecar.
type table struct {
	secret     string
	wide       bool
	namespaces bool // whether the rows contain the namespace
	colored    bool
	now        time.Time // zero: omit all ages
}

// attentionFirst orders Pods: those that cannot get done without somebody's help, then the
// pending Pods, then the Pods that are done.
func attentionFirst(a, b rollout.PodState) int {
	return cmp.Or(cmp.Compare(urgency(b), urgency(a)), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name))
}

// urgency returns 2 for a Pod that needs help, 1 for a Pod that is not done, and 0 otherwise.
func urgency(o rollout.PodState) int {
	unanswered := slices.Contains(slices.Collect(maps.Values(o.Sidecars)), nil)
	switch {
	case o.Done:
		return 0
	case o.Final || unanswered:
		return 2
	}
	return 1
}

// colors by urgency.
var colors = []string{"", "\x1b[33m", "\x1b[31m"}

func (t table) write(out io.Writer, s survey) {
	for _, v := range s.Versions {
		pods, done := 0, 0
		for _, o := range s.Pods {
			if o.Namespace == v.Namespace {
				pods++
				if o.Done {
					done++
				}
			}
		}
		fmt.Fprintf(out, "Secret %s/%s: version %s, used by %d of %d Pods", v.Namespace, v.Secret, v.ResourceVersion,
			done, pods)
		if t.wide {
			fmt.Fprintf(out, " (uid %s)", v.UID)
		}
		fmt.Fprintln(out)
	}
	if len(s.Pods) == 0 {
		fmt.Fprintln(out, "No Pod counts: check the selector and the namespace.")
		return
	}
	var rows bytes.Buffer
	var urgencies []int
	w := tabwriter.NewWriter(&rows, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, strings.Join(t.header(), "\t"))
	for _, o := range s.Pods {
		for _, cells := range t.rows(o) {
			urgencies = append(urgencies, urgency(o))
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
	}
	_ = w.Flush()
	for i, line := range strings.Split(strings.TrimRight(rows.String(), "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if t.colored && i > 0 && urgencies[i-1] > 0 {
			line = colors[urgencies[i-1]] + line + "\x1b[0m"
		}
		fmt.Fprintln(out, line)
	}
}

// columns returns a row of cells without the columns that the table does not show.
func (t table) columns(namespace, pod, container, version, age, targets, watch, generation, instance,
	reason string) []string {
	row := []string{pod, version, age, targets, watch}
	if t.wide {
		row = []string{pod, container, version, generation, age, targets, watch, instance}
	}
	if t.namespaces {
		row = slices.Insert(row, 0, namespace)
	}
	return append(row, reason)
}

func (t table) header() []string {
	return t.columns("NAMESPACE", "POD", "CONTAINER", "VERSION", "AGE", "TARGETS", "WATCH", "GENERATION", "INSTANCE",
		"REASON")
}

// rows returns a row per sidecar of the Pod.
func (t table) rows(o rollout.PodState) (all [][]string) {
	age := ""
	if !t.now.IsZero() {
		age = duration.HumanDuration(t.now.Sub(o.Created))
	}
	reason := cmp.Or(o.Reason, "-")
	if o.Unnotified {
		reason = "files in place, nobody was notified"
	}
	for _, container := range slices.Sorted(maps.Keys(o.Sidecars)) {
		version, targets, watch, generation, instance := "unknown", "unknown", "unknown", "-", "-"
		if d := o.Sidecars[container]; d != nil {
			version, targets, watch = t.fileVersion(d), t.targets(d), t.watch(d)
			generation, instance = fmt.Sprint(d.Generation), d.Instance
		}
		all = append(all, t.columns(o.Namespace, o.Name, container, version, age, targets, watch, generation, instance,
			reason))
	}
	if len(o.Sidecars) == 0 {
		all = append(all, t.columns(o.Namespace, o.Name, "-", "-", age, "-", "-", "-", "-", reason))
	}
	return all
}

// fileVersion returns the version of the Secret in the files.
func (t table) fileVersion(d *status.Document) string {
	s := d.Secrets[t.secret]
	switch {
	case s.Refused != "":
		return "older than " + s.ResourceVersion
	case s.Generation == 0:
		return "none"
	}
	return s.ResourceVersion
}

// targets returns the state of each target.
func (t table) targets(d *status.Document) string {
	var all []string
	for _, target := range d.Targets {
		text := target.Name + " notified"
		if target.Pending || target.Notified < d.Secrets[t.secret].Generation {
			text = target.Name + " pending"
			if !t.now.IsZero() && !target.PendingSince.IsZero() {
				text += " for " + duration.HumanDuration(t.now.Sub(target.PendingSince))
			}
			if target.Error != "" {
				text += ": " + target.Error
			}
		}
		all = append(all, text)
	}
	return cmp.Or(strings.Join(all, ", "), "none")
}

// watch returns the state of the watch of the Secret: up, or the time of its failure. A watch by
// name precedes the watch of a selector.
func (t table) watch(d *status.Document) string {
	for _, name := range []string{"secret/" + t.secret, "selector"} {
		i := slices.IndexFunc(d.Watches, func(w status.Watch) bool { return w.Name == name })
		switch {
		case i < 0:
			continue
		case d.Watches[i].Up:
			return "up"
		case d.Watches[i].LastContact.IsZero():
			return "down, never up"
		case d.Watches[i].DownSince.IsZero(): // it did not fail
			return "not up yet"
		}
		return "down since " + d.Watches[i].DownSince.Local().Format(time.DateTime)
	}
	return "none"
}
