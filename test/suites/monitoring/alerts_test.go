//go:build programs

package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// rule is an alert of rules.yaml.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// wait is how long the rule's expression must hold.
func (r rule) wait() time.Duration {
	d, _ := time.ParseDuration(r.For) // "" is at once
	return d
}

// readRules gives the rules, and them as a file of Prometheus.
func readRules(t *testing.T) (all []rule, file []byte) {
	t.Helper()
	text, err := os.ReadFile(folder + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec struct{ Groups []struct{ Rules []rule } }
	}
	var whole struct{ Spec any }
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	for _, g := range object.Spec.Groups {
		all = append(all, g.Rules...)
	}
	if file, err = json.Marshal(whole.Spec); err != nil { // JSON is YAML
		t.Fatal(err)
	}
	return all, file
}

// of is what each alert's labels have beside those of the Pod, once for each time that
// it fires.
var of = map[string][]string{
	"SecretSyncWatchStale":          {"container=secret-sync,watch=secret/db", "container=secret-sync,watch=secret/cache"},
	"SecretSyncPublishFailing":      {"container=secret-sync,reason=no_space"},
	"SecretSyncNotificationPending": {"container=secret-sync,target=webhook"},
	"SecretSyncSecretMissing":       {"container=secret-sync,secret=db"},
	"SecretSyncSecretRefused":       {"container=secret-sync,secret=db,reason=missing_key"},
	"SecretSyncRepairsWithoutEnd":   {"container=secret-sync"},
	"SecretSyncRestarting":          {""},
}

// without has the series of which each alert can do without one: it has to fire all
// the same.
var without = map[string][]string{
	"SecretSyncRestarting": {"process_start_time_seconds", "kube_pod_init_container_status_restarts_total"},
}

// before is how long each recording is of good health.
const before = 2 * time.Minute

// during is how long it is of a state: some minutes more than the alert waits, and for
// the healthy one as long as the slowest needs.
func during(state string, rules []rule) (d time.Duration) {
	for _, r := range rules {
		if state == healthy || state == r.Alert {
			d = max(d, r.wait())
		}
	}
	return d + 6*time.Minute
}

// TestAlerts: each alert fires in the state that it is about, for the Pod and the thing that
// it is about, not before its time, and no other does. None fires for a healthy one.
func TestAlerts(t *testing.T) {
	t.Parallel()
	rules, file := readRules(t)
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := struct {
		RuleFiles []string `json:"rule_files"`
		Interval  string   `json:"evaluation_interval"`
		Tests     []any    `json:"tests"`
	}{RuleFiles: []string{path}, Interval: interval.String()}
	var mu sync.Mutex
	recorded := 0
	t.Run("record", func(t *testing.T) {
		for _, s := range states {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				r := record(t, s, before, during(s.name, rules))
				mu.Lock()
				defer mu.Unlock()
				recorded++
				tests.Tests = append(tests.Tests, ruleTest(s.name, rules, r))
				for _, metric := range without[s.name] {
					tests.Tests = append(tests.Tests, ruleTest(s.name, rules, r.without(t, metric)))
				}
			})
		}
	})
	if len(rules)+1 != len(states) || recorded != len(states) {
		t.Fatalf("%d rules, %d states, %d recordings: want a state for each rule and a healthy one", len(rules), len(states), recorded)
	}
	promtool(t, tests)
}

// promtool runs rule tests.
func promtool(t *testing.T, tests any) {
	t.Helper()
	text, err := json.MarshalIndent(tests, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tests.yaml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program(t, "promtool"), "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// ruleTest is what promtool has to find in a recording of a state.
func ruleTest(name string, rules []rule, r *recording) map[string]any {
	var expected []map[string]any
	for _, rule := range rules {
		expect := func(at time.Duration, alerts ...map[string]any) {
			expected = append(expected, map[string]any{"alertname": rule.Alert, "eval_time": at.String(), "exp_alerts": alerts})
		}
		end := before + during(name, rules) - interval
		switch {
		case rule.Alert != name:
			for at := before; at <= end; at += time.Minute {
				expect(at)
			}
		default:
			expect(before + max(rule.wait()-time.Minute, 0))
			expect(end, alerts(rule)...)
		}
	}
	return map[string]any{"name": name, "interval": interval.String(), "input_series": r.inputSeries(), "alert_rule_test": expected}
}

var reference = regexp.MustCompile(`{{ \$labels\.(\w+) }}`)

// alerts is what a rule gives.
func alerts(r rule) (all []map[string]any) {
	for _, labels := range of[r.Alert] {
		all = append(all, alert(r, labels))
	}
	return all
}

// alert is one of them: with all labels, and with them in its annotations.
func alert(r rule, of string) map[string]any {
	labels := map[string]string{"namespace": "shop", "pod": "app-1"}
	for pair := range strings.SplitSeq(of, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			labels[name] = value
		}
	}
	annotations := map[string]string{}
	for name, text := range r.Annotations {
		annotations[name] = reference.ReplaceAllStringFunc(text, func(s string) string {
			if value := labels[reference.FindStringSubmatch(s)[1]]; value != "" {
				return value
			}
			return fmt.Sprintf("(no label for %s)", s)
		})
	}
	for name, value := range r.Labels {
		labels[name] = value
	}
	return map[string]any{"exp_labels": labels, "exp_annotations": annotations}
}

// TestRunbook: each alert has a summary, what it means for the app, and a section of
// the runbook; and the runbook has no other.
func TestRunbook(t *testing.T) {
	const page = "docs/operation.md"
	text, err := os.ReadFile("../../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, runbook, _ := strings.Cut(string(text), "\n## Runbook\n")
	rules, _ := readRules(t)
	var want []string
	for _, r := range rules {
		want = append(want, r.Alert)
		if len(r.Annotations) != 3 || r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s: got %v and %v, want a severity, a summary, a description and a runbook", r.Alert, r.Labels, r.Annotations)
		}
		if got, want := r.Annotations["runbook"], page+"#"+strings.ToLower(r.Alert); got != want {
			t.Errorf("%s: the runbook is %q, want %q", r.Alert, got, want)
		}
	}
	var got []string
	for line := range strings.Lines(runbook) {
		if title, ok := strings.CutPrefix(line, "### "); ok {
			got = append(got, strings.TrimSpace(title))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the runbook has sections %q, want one for each alert, %q", got, want)
	}
}
