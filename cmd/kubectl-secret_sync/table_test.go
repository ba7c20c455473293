package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/internal/status"
)

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// observed returns a Pod with a sidecar that watches the Secret db and has notified its target.
func observed(name string, change func(*rollout.PodState, *status.Document)) rollout.PodState {
	d := &status.Document{
		Generation: 3, Instance: "i-" + name,
		Secrets: map[string]status.Secret{"db": {Present: true, ResourceVersion: "4711", Generation: 3}},
		Targets: []status.Target{{Name: "webhook", Notified: 3}},
		Watches: []status.Watch{{Name: "secret/db", Up: true}},
	}
	o := rollout.PodState{Namespace: "shop", Name: name, Done: true, Created: now.Add(-90 * time.Minute)}
	change(&o, d)
	o.Done = o.Reason == ""
	if o.Sidecars == nil {
		o.Sidecars = map[string]*status.Document{"secret-sync": d}
	}
	return o
}

// testSurvey contains a Pod for each state.
func testSurvey() survey {
	s := survey{Versions: []rollout.Version{{Namespace: "shop", Secret: "db", UID: "u", ResourceVersion: "4711"}}}
	add := func(name string, change func(*rollout.PodState, *status.Document)) {
		s.Pods = append(s.Pods, observed(name, change))
	}
	add("a-done", func(*rollout.PodState, *status.Document) {})
	add("b-unnotified", func(o *rollout.PodState, d *status.Document) { o.Unnotified, d.Targets = true, nil })
	add("c-pending", func(o *rollout.PodState, d *status.Document) {
		o.Reason = "webhook is not notified yet: HTTP 503"
		d.Targets = []status.Target{
			{Name: "exec", Notified: 3}, // pending targets follow
			{Name: "webhook", Notified: 2, Pending: true, PendingSince: now.Add(-12 * time.Second), Error: "HTTP 503"},
		}
	})
	add("d-down", func(o *rollout.PodState, d *status.Document) {
		o.Reason = "the watch of its sidecar is down"
		d.Watches = []status.Watch{{Name: "selector", Up: true},
			{Name: "secret/db", DownSince: now.Add(-time.Hour), LastContact: now}} // a silent watch has contact
	})
	add("e-refused", func(o *rollout.PodState, d *status.Document) {
		o.Reason = "its sidecar rejects the Secret: missing_key"
		d.Secrets["db"] = status.Secret{ResourceVersion: "4711", Generation: 2, Refused: "missing_key"}
		d.Watches = []status.Watch{{Name: "selector"}}
	})
	add("e2-starting", func(o *rollout.PodState, d *status.Document) {
		o.Reason = "the watch of its sidecar is down"
		d.Watches = []status.Watch{{Name: "secret/db", LastContact: now}}
	})
	add("f-empty", func(o *rollout.PodState, d *status.Document) {
		o.Reason = "the files are not in the volume yet"
		d.Secrets, d.Targets, d.Watches = nil, nil, nil
	})
	add("g-silent", func(o *rollout.PodState, _ *status.Document) {
		o.Reason, o.Sidecars = "its sidecar does not answer", map[string]*status.Document{"secret-sync": nil}
	})
	add("h-reader", func(o *rollout.PodState, _ *status.Document) {
		o.Reason, o.Final = "container app reads it into PASSWORD at start", true
		o.Sidecars = map[string]*status.Document{}
	})
	slices.SortStableFunc(s.Pods, attentionFirst)
	return s
}

// TestTable: each state of a Pod, in the order of the attention that it needs.
func TestTable(t *testing.T) {
	var out strings.Builder
	table{secret: "db", now: now}.write(&out, testSurvey())
	down := now.Add(-time.Hour).Local().Format(time.DateTime)
	want := `Secret shop/db: version 4711, used by 2 of 9 Pods
POD  VERSION  AGE  TARGETS  WATCH  REASON
g-silent  unknown  90m  unknown  unknown  its sidecar does not answer
h-reader  -  90m  -  -  container app reads it into PASSWORD at start
c-pending  4711  90m  exec notified, webhook pending for 12s: HTTP 503  up  webhook is not notified yet: HTTP 503
d-down  4711  90m  webhook notified  down since ` + down + `  the watch of its sidecar is down
e-refused  older than 4711  90m  webhook notified  down, never up  its sidecar rejects the Secret: missing_key
e2-starting  4711  90m  webhook notified  not up yet  the watch of its sidecar is down
f-empty  none  90m  none  none  the files are not in the volume yet
a-done  4711  90m  webhook notified  up  -
b-unnotified  4711  90m  none  up  files in place, nobody was notified
`
	if got := out.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.HasSuffix(line, " ") {
			t.Errorf("spaces at the end of %q", line)
		}
	}
}

// TestTable_colors: red for a Pod that needs help, yellow for a pending Pod.
func TestTable_colors(t *testing.T) {
	var out strings.Builder
	table{secret: "db", now: now, colored: true}.write(&out, testSurvey())
	for name, prefix := range map[string]string{
		"Secret": "", "POD": "", "g-silent": "\x1b[31m", "h-reader": "\x1b[31m", "c-pending": "\x1b[33m",
		"d-down": "\x1b[33m", "a-done": "",
	} {
		i := slices.IndexFunc(strings.Split(out.String(), "\n"), func(line string) bool {
			return strings.HasPrefix(line, prefix+name) && strings.HasSuffix(line, "\x1b[0m") == (prefix != "")
		})
		if i < 0 {
			t.Errorf("no row %s with the prefix %q in\n%q", name, prefix, out.String())
		}
	}
}

// TestTable_wide: the columns of -o wide and of -A.
func TestTable_wide(t *testing.T) {
	var out strings.Builder
	table{secret: "db", wide: true, namespaces: true, now: now}.write(&out, testSurvey())
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"(uid u) NAMESPACE POD CONTAINER VERSION GENERATION AGE TARGETS WATCH INSTANCE REASON",
		"shop a-done secret-sync 4711 3 90m webhook notified up i-a-done -",
		"shop h-reader - - - 90m - - - container app",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

// TestSurvey_withoutAges: a row changes if its state changes, and not because time passes.
func TestSurvey_withoutAges(t *testing.T) {
	f := &statusFlags{}
	f.Secret = "db"
	first, later := testSurvey(), testSurvey()
	for i := range later.Pods {
		later.Pods[i].Created = now
	}
	if first.withoutAges(f) != later.withoutAges(f) {
		t.Error("the text changes with the age of a Pod")
	}
	later.Pods[0].Reason = "another"
	if first.withoutAges(f) == later.withoutAges(f) {
		t.Error("the text does not change with the reason of a Pod")
	}
}

// TestBar: the filled part of the bar is the share of the Pods that are done.
func TestBar(t *testing.T) {
	for _, c := range []struct {
		done, pods int
		want       string
	}{
		{0, 0, "[--------------------]"}, {0, 3, "[--------------------]"}, {1, 3, "[######--------------]"},
		{3, 3, "[####################]"},
	} {
		r := rollout.Result{Pods: make([]rollout.PodState, c.pods)}
		for i := range c.done {
			r.Pods[i].Done = true
		}
		if got := bar(r); got != c.want {
			t.Errorf("%d of %d: got %s, want %s", c.done, c.pods, got, c.want)
		}
	}
	if got := fit("größer", 4); got != "grö…" {
		t.Errorf("got %q", got)
	}
}

// TestProgress_lines: without a terminal, a change prints a line.
func TestProgress_lines(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	r := rollout.Result{Pods: make([]rollout.PodState, 1)}
	p.Show(r)
	p.Show(r)
	r.Pods[0].Done, r.Done = true, true
	p.Show(r)
	if want := "0 of 1 Pods are done: waiting for : \n1 of 1 Pods are done\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// TestStatus_usage: the plugin rejects invalid arguments with the exit code 2.
func TestStatus_usage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"status", "the name of the Secret is missing"},
		{"status db web", `unexpected argument "web"`},
		{"status db -o yaml", `-o "yaml": must be wide or json`},
		{"status db -l a=b=c", "--selector"},
		{"wait", "--secret is missing"},
		{"wait -A", "unknown shorthand flag"},
	} {
		_, errOut, code := execute(t, "", strings.Fields(c.args)...)
		if code != 2 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: got code %d and %q, want 2 and %q", c.args, code, errOut, c.want)
		}
	}
}
