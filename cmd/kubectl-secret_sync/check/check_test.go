package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// inspect checks a manifest in a file.
func inspect(t *testing.T, text string) *Report {
	t.Helper()
	report, err := Run(t.Context(), Input{Objects: objects(t, text), DefaultNamespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// objects returns the objects of a manifest in a file.
func objects(t *testing.T, text string) []*manifest.Object {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	infos, err := resource.NewBuilder(genericclioptions.NewConfigFlags(false)).Unstructured().Local().Flatten().
		FilenameParam(false, &resource.FilenameOptions{Filenames: []string{file}}).Do().Infos()
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Objects(infos, nil)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// show returns the findings as text.
func show(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRun_good(t *testing.T) {
	if r := inspect(t, read(t, "testdata/good.yaml")); len(r.Findings) > 0 || r.Workloads != 1 {
		t.Error(show(t, r))
	}
}

// TestRun_broken: each case of cases.yaml breaks a single rule. Its replaced text is the change
// that makes the finding disappear.
func TestRun_broken(t *testing.T) {
	var cases []struct {
		Rule     string
		Severity Severity
		Replace  map[string]string
		Line     string
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, "testdata/cases.yaml")), &cases); err != nil {
		t.Fatal(err)
	}
	good := read(t, "testdata/good.yaml")
	tested := []string{"injected", "secret"} // below, and in a cluster
	for _, c := range cases {
		tested = append(tested, c.Rule)
		t.Run(c.Rule, func(t *testing.T) {
			var pairs []string
			for text, with := range c.Replace {
				if strings.Count(good, text) != 1 {
					t.Fatalf("good.yaml contains %q %d times, want once", text, strings.Count(good, text))
				}
				pairs = append(pairs, text, with)
			}
			manifest := strings.NewReplacer(pairs...).Replace(good)
			r := inspect(t, manifest)
			before, _, _ := strings.Cut(manifest, c.Line)
			line := strings.Count(before, "\n") + 1
			var got Finding
			if len(r.Findings) == 1 {
				got = r.Findings[0]
			}
			if got.Rule != c.Rule || got.Severity != c.Severity || got.Line != line {
				t.Errorf("got\n%swant a single %s of the rule %s in line %d", show(t, r), c.Severity, c.Rule, line)
			}
		})
	}
	for rule := range anchors {
		if !slices.Contains(tested, rule) {
			t.Errorf("no case breaks the rule %s", rule)
		}
	}
}

// TestRun_waits: a disabled HTTP server is an error only if a container of the input runs wait, in
// any form.
func TestRun_waits(t *testing.T) {
	job := func(container string) string {
		return "{apiVersion: batch/v1, kind: Job, metadata: {name: job, namespace: shop}, spec: {template: {spec: " +
			"{restartPolicy: Never, containers: [{name: job, image: tool, " + container + "}]}}}}\n"
	}
	for input, want := range map[string]Severity{
		read(t, "../../../examples/rotate/base/cronjob.yaml"):                                        Error,
		job(`args: [wait, --secret, db]`):                                                            Error,
		job(`command: [/secret-sync, wait]`):                                                         Error,
		job(`command: [/secret-sync], args: [wait]`):                                                 Error,
		job(`command: [kubectl], args: [secret-sync, wait, db]`):                                     Error,
		job(`command: [kubectl, secret-sync, -n, shop, --context=a, wait]`):                          Error,
		job(`command: [kubectl-secret_sync, wait]`):                                                  Error,
		job(`command: [sh, -c, "./rotate && /secret-sync wait --secret db"]`):                        Error,
		job(`command: [/bin/sh, -ec], args: ["kubectl --context a secret-sync \\\n  wait\nrotate"]`): Error,
		job(`command: [sh, -c, "secret-sync status; wait"]`):                                         Warning,
		job(`command: [kubectl, wait, pod/secret-sync]`):                                             Warning,
		job(`args: [secret-sync, status]`):                                                           Warning,
	} {
		manifest := strings.Replace(read(t, "testdata/good.yaml"), `value: ":29808"`, `value: ""`, 1)
		r := inspect(t, manifest+"---\n"+input)
		i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Rule == "http-server" })
		if i < 0 || r.Findings[i].Severity != want ||
			(want == Error) != strings.Contains(r.Findings[i].Message, "runs `wait`") {
			t.Errorf("want %s for %s, got\n%s", want, input, show(t, r))
		}
	}
}

// TestRun_injected: a Pod with annotations and without a sidecar is no success.
func TestRun_injected(t *testing.T) {
	r := inspect(t, `{apiVersion: v1, kind: Pod, metadata: {name: app, annotations: {secret-sync/secrets: db}},
  spec: {containers: [{name: app}]}}`)
	if len(r.Findings) != 1 || r.Findings[0].Rule != "injected" || r.Workloads != 0 {
		t.Error(show(t, r))
	}
}
