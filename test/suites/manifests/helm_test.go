package manifests

import (
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/test/harness/helmchart"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const charts = "../../../examples/helm"

// values parses a document as `helm --values` does.
func values(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestHelm_lint runs the linter of Helm on each chart.
func TestHelm_lint(t *testing.T) {
	for _, dir := range []string{charts + "/secret-sync", charts + "/app", "testdata/other"} {
		for _, m := range lint.RunAll(dir, nil, "shop").Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", dir, m)
			}
		}
	}
}

// TestHelm_equalsTheComponent applies the rendered chart. The sidecar must equal the
// component's sidecar except for its variables, and the Role must equal the output of
// `secret-sync rbac`.
func TestHelm_equalsTheComponent(t *testing.T) {
	component := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	pod := component.DryRun(component.Kustomize("../../../examples/component/example"))[0]
	want := pod.Spec.InitContainers[0]
	tests := []struct {
		name, values string
		variables    st.Env
		shared       bool
	}{
		{
			name: "default values", values: `{}`, shared: true,
			variables: st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_PROCESS": "app"},
		},
		{
			name: "webhook",
			values: `secret-sync: {secrets: [web, db], optionalSecrets: [tls], process: "",
				webhookURL: "http://localhost:8080/reload"}`,
			variables: st.Env{
				"SECRETSYNC_SECRETS": "web,db", "SECRETSYNC_OPTIONAL_SECRETS": "tls",
				"SECRETSYNC_WEBHOOK_URL": "http://localhost:8080/reload",
			},
		},
		{
			name:   "Events, flat",
			values: `secret-sync: {process: "", env: {SECRETSYNC_EVENTS: "true", SECRETSYNC_LAYOUT: flat}}`,
			variables: st.Env{
				"SECRETSYNC_SECRETS": "db", "SECRETSYNC_EVENTS": "true", "SECRETSYNC_LAYOUT": "flat",
			},
		},
		{
			name:      "selector",
			values:    `secret-sync: {secrets: [], process: "", env: {SECRETSYNC_SELECTOR: "app=shop"}}`,
			variables: st.Env{"SECRETSYNC_SELECTOR": "app=shop"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env := maps.Clone(test.variables)
			env["POD_NAME"], env["POD_UID"] = "app-1", "1"
			s := st.NewWithoutRole(t, env)
			s.Restrict()
			manifest, err := helmchart.Template(charts+"/app", s.Namespace, values(t, test.values))
			if err != nil {
				t.Fatal(err)
			}
			pods := s.DryRun(manifest)
			if len(pods) != 1 || mounts(pods[0]) != "app:/secrets" {
				t.Fatalf("got %d Pods with mounts %q, want a Pod that mounts the files", len(pods), mounts(pods[0]))
			}
			checkIdentity(t, pods[0])
			sidecar := pods[0].Spec.InitContainers[0]
			if got := variables(sidecar); !reflect.DeepEqual(got, test.variables) {
				t.Errorf("got variables %v, want %v", got, test.variables)
			}
			sidecar.Env, sidecar.ImagePullPolicy = want.Env, want.ImagePullPolicy
			if !reflect.DeepEqual(sidecar, want) {
				t.Errorf("got the sidecar\n%+v\nwant the component's sidecar\n%+v", sidecar, want)
			}
			if share := pods[0].Spec.ShareProcessNamespace; (share != nil && *share) != test.shared {
				t.Errorf("got shareProcessNamespace %v, want %v", share, test.shared)
			}
			checkRole(t, manifest, s.Print("rbac", "app"))
		})
	}
}

// variables returns the variables of a container with a literal value.
func variables(c corev1.Container) st.Env {
	env := st.Env{}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			env[v.Name] = v.Value
		}
	}
	return env
}

// TestHelm_rejectsInvalidValues checks that each error names the invalid value.
func TestHelm_rejectsInvalidValues(t *testing.T) {
	for text, want := range map[string]string{
		`secret-sync: {secret: [db]}`:                        "'secret' not allowed",
		`secret-sync: {secrets: db}`:                         "/secrets': got string, want array",
		`secret-sync: {secrets: [Db]}`:                       "does not match pattern",
		`secret-sync: {secrets: []}`:                         "list the Secrets to watch",
		`secret-sync: {webhookURL: "localhost:8080"}`:        "/webhookURL",
		`secret-sync: {mountPath: etc}`:                      "/mountPath",
		`secret-sync: {env: {SECRETSYNC_SECRETS: db}}`:       "SECRETSYNC_SECRETS",
		`secret-sync: {env: {SECRETSYNC_EVENTS: true}}`:      "got boolean, want string",
		`secret-sync: {image: {repository: a, tag: ""}}`:     "/image/tag",
		`{runAsUser: 0}`:                                     "/runAsUser",
		`{replica: 2}`:                                       "'replica' not allowed",
		`secret-sync: {image: {repository: a, digest: "b"}}`: "'digest' not allowed",
	} {
		_, err := helmchart.Template(charts+"/app", "shop", values(t, text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", text, err, want)
		}
	}
}

// TestHelm_extraContainers renders a third-party chart with values-extra.yaml.
func TestHelm_extraContainers(t *testing.T) {
	s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.Restrict()
	extra, err := os.ReadFile(charts + "/values-extra.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := helmchart.Template("testdata/other", s.Namespace, values(t, string(extra)))
	if err != nil {
		t.Fatal(err)
	}
	pod := s.DryRun(manifest)[0]
	checkIdentity(t, pod)
	if got, want := mounts(pod), "other:/secrets"; got != want {
		t.Errorf("got mounts %q, want %q", got, want)
	}
	want := s.DryRun(s.Kustomize("../../../examples/component/example"))[0].Spec.InitContainers[0]
	got := pod.Spec.InitContainers[0]
	got.Env = want.Env
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got the sidecar\n%+v\nwant the component's sidecar\n%+v", got, want)
	}
}
