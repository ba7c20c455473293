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

// values parses values as `--values` does.
func values(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHelmLint(t *testing.T) {
	for _, folder := range []string{charts + "/secret-sync", charts + "/app", "testdata/other"} {
		for _, m := range lint.RunAll(folder, nil, "shop").Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", folder, m)
			}
		}
	}
}

// TestHelm: the API server takes what the chart renders, the sidecar is that of the
// component but for its variables, and the Role is the one that the program prints.
func TestHelm(t *testing.T) {
	component := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	want := component.DryRun(component.Kustomize("../../../examples/component/example"))[0].Spec.InitContainers[0]
	tests := []struct {
		name, values string
		variables    st.Env
		shared       bool
	}{
		{name: "as it is", values: `{}`, variables: st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_PROCESS": "app"}, shared: true},
		{name: "webhook", values: `secret-sync: {secrets: [web, db], optionalSecrets: [tls], process: "", webhookURL: "http://localhost:8080/reload"}`,
			variables: st.Env{"SECRETSYNC_SECRETS": "web,db", "SECRETSYNC_OPTIONAL_SECRETS": "tls", "SECRETSYNC_WEBHOOK_URL": "http://localhost:8080/reload"}},
		{name: "Events, flat", values: `secret-sync: {process: "", env: {SECRETSYNC_EVENTS: "true", SECRETSYNC_LAYOUT: flat}}`,
			variables: st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_EVENTS": "true", "SECRETSYNC_LAYOUT": "flat"}},
		{name: "selector", values: `secret-sync: {secrets: [], process: "", env: {SECRETSYNC_SELECTOR: "app=shop"}}`,
			variables: st.Env{"SECRETSYNC_SELECTOR": "app=shop"}},
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
				t.Fatalf("got %d Pods with mounts %q, want one that mounts the files", len(pods), mounts(pods[0]))
			}
			checkIdentity(t, pods[0])
			sidecar := pods[0].Spec.InitContainers[0]
			if got := variables(sidecar); !reflect.DeepEqual(got, test.variables) {
				t.Errorf("got variables %v, want %v", got, test.variables)
			}
			sidecar.Env, sidecar.ImagePullPolicy = want.Env, want.ImagePullPolicy
			if !reflect.DeepEqual(sidecar, want) {
				t.Errorf("got the sidecar\n%+v\nwant that of the component\n%+v", sidecar, want)
			}
			if share := pods[0].Spec.ShareProcessNamespace; (share != nil && *share) != test.shared {
				t.Errorf("got shareProcessNamespace %v, want %v", share, test.shared)
			}
			if got, want := st.Rules(t, manifest, "secret-sync-app"), st.Rules(t, s.RBACOf("app"), "secret-sync-app"); got != want {
				t.Errorf("the Role: got %s, want %s", got, want)
			}
		})
	}
}

// variables are those of the sidecar that have a value of their own.
func variables(c corev1.Container) st.Env {
	env := st.Env{}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			env[v.Name] = v.Value
		}
	}
	return env
}

// TestHelmRefuses: the schema names what is wrong.
func TestHelmRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`secret-sync: {secret: [db]}`:                        "'secret' not allowed",
		`secret-sync: {secrets: db}`:                         "/secrets': got string, want array",
		`secret-sync: {secrets: [Db]}`:                       "does not match pattern",
		`secret-sync: {secrets: []}`:                         "name the Secrets to watch",
		`secret-sync: {webhookURL: "localhost:8080"}`:        "/webhookURL",
		`secret-sync: {mountPath: etc}`:                      "/mountPath",
		`secret-sync: {env: {SECRETSYNC_SECRETS: db}}`:       "SECRETSYNC_SECRETS",
		`secret-sync: {env: {SECRETSYNC_EVENTS: true}}`:      "got boolean, want string",
		`secret-sync: {image: {repository: a, tag: ""}}`:     "/image/tag",
		`{runAsUser: 0}`:                                     "/runAsUser",
		`{replica: 2}`:                                       "'replica' not allowed",
		`secret-sync: {image: {repository: a, digest: "b"}}`: "'digest' not allowed",
	} {
		if _, err := helmchart.Template(charts+"/app", "shop", values(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", text, err, want)
		}
	}
}

// TestHelmExtraContainers: the values for charts of other people.
func TestHelmExtraContainers(t *testing.T) {
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
		t.Errorf("got the sidecar\n%+v\nwant that of the component\n%+v", got, want)
	}
}
