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

// A rule is an alert in rules.yaml.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// wait returns the time for which the expression must be true before the alert fires.
func (r rule) wait() time.Duration {
	d, _ := time.ParseDuration(r.For) // "" means at once
	return d
}

// readRules returns the rules, and the same rules as a file for Prometheus.
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

// ofLabels lists the labels of each firing alert besides the labels of the Pod.
var ofLabels = map[string][]string{
	"SecretSyncWatchStale": {"container=secret-sync,watch=secret/db",
		"container=secret-sync,watch=secret/cache"},
	"SecretSyncPublishFailing":      {"container=secret-sync,reason=no_space"},
	"SecretSyncNotificationPending": {"container=secret-sync,target=webhook"},
	"SecretSyncSecretMissing":       {"container=secret-sync,secret=db"},
	"SecretSyncSecretRefused":       {"container=secret-sync,secret=db,reason=missing_key"},
	"SecretSyncRepairsWithoutEnd":   {"container=secret-sync"},
	"SecretSyncRestarting":          {""},
}

// without lists the redundant series of an alert: it must fire even if a series is missing.
var without = map[string][]string{
	"SecretSyncRestarting": {"process_start_time_seconds", "kube_pod_init_container_status_restarts_total"},
}

// before is the duration of the healthy part of a recording.
const before = 2 * time.Minute

// during returns the duration of a state in a recording: some minutes more than the alert
// waits. The healthy state lasts as long as the slowest alert waits.
func during(state string, rules []rule) (d time.Duration) {
	for _, r := range rules {
		if state == healthy || state == r.Alert {
			d = max(d, r.wait())
		}
	}
	return d + 6*time.Minute
}

// TestAlerts_fireInTheirState: each alert fires in its state, for the Pod and the object of
// the state, and not before its time. No other alert fires, and none for a healthy sidecar.
func TestAlerts_fireInTheirState(t *testing.T) {
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
		t.Fatalf("%d rules, %d states, %d recordings; want a state per rule and a healthy state",
			len(rules), len(states), recorded)
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

// ruleTest returns the expectations of promtool for the recording of a state.
func ruleTest(name string, rules []rule, r *recording) map[string]any {
	var expected []map[string]any
	for _, rule := range rules {
		expect := func(at time.Duration, alerts ...map[string]any) {
			expected = append(expected,
				map[string]any{"alertname": rule.Alert, "eval_time": at.String(), "exp_alerts": alerts})
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
	return map[string]any{
		"name":            name,
		"interval":        interval.String(),
		"input_series":    r.inputSeries(),
		"alert_rule_test": expected,
	}
}

var reference = regexp.MustCompile(`{{ \$labels\.(\w+) }}`)

// alerts returns the alerts of a rule.
func alerts(r rule) (all []map[string]any) {
	for _, labels := range ofLabels[r.Alert] {
		all = append(all, alert(r, labels))
	}
	return all
}

// alert returns an alert with all its labels, which also occur in its annotations.
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

// TestRunbook_sectionPerAlert: each alert has a summary, a description of the effect on the
// app, and a section in the runbook. The runbook contains no other section.
func TestRunbook_sectionPerAlert(t *testing.T) {
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
		if len(r.Annotations) != 3 || r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
			r.Labels["severity"] == "" {
			t.Errorf("%s: got %v and %v, want a severity, a summary, a description and a runbook",
				r.Alert, r.Labels, r.Annotations)
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
		t.Errorf("the runbook contains the sections %q, want one per alert, %q", got, want)
	}
}
