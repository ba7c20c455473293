package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

const cases = "../../../examples/cases"

// TestCases: the strictest Pod Security takes each case, and its Role is the one that
// the program prints for the Pod's own environment.
func TestCases(t *testing.T) {
	folders, err := filepath.Glob(cases + "/*/kustomization.yaml")
	if err != nil || len(folders) < 8 {
		t.Fatalf("got %d cases, %v", len(folders), err)
	}
	for _, file := range folders {
		folder := filepath.Dir(file)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			s := st.NewWithoutRole(t, nil)
			s.Restrict()
			manifest := s.Kustomize(folder)
			pods := s.DryRun(manifest)
			if len(pods) != 1 {
				t.Fatalf("got %d Pods, want one", len(pods))
			}
			checkIdentity(t, pods[0])
			env := variables(pods[0].Spec.InitContainers[0])
			for variable, annotation := range map[string]string{
				"SECRETSYNC_SECRETS": "secrets", "SECRETSYNC_PROCESS": "process", "SECRETSYNC_WEBHOOK_URL": "webhook-url",
			} {
				if value, ok := pods[0].Annotations["secret-sync/"+annotation]; ok {
					env[variable] = value
				}
			}
			if got, want := st.Rules(t, manifest, "secret-sync-app"), st.Rules(t, s.PrintWith(env, "rbac", "app"), "secret-sync-app"); got != want {
				t.Errorf("the Role: got %s, want %s", got, want)
			}
		})
	}
}

// TestRotateCases: the CronJobs that rotate, too.
func TestRotateCases(t *testing.T) {
	for _, folder := range []string{"mariadb", "postgres"} {
		s := st.NewWithoutRole(t, nil)
		s.Restrict()
		if pods := s.DryRun(s.Kustomize("../../../examples/rotate/" + folder)); len(pods) == 0 {
			t.Errorf("%s: got no Pod", folder)
		}
	}
}

// TestWriters: the API server takes the resources of those who write the Secret, with
// the definitions from their own Go modules.
func TestWriters(t *testing.T) {
	for file, definitions := range map[string]string{
		cases + "/writers/external-secret.yaml": "github.com/external-secrets/external-secrets@v0.16.2:config/crds/bases/external-secrets.io_externalsecrets.yaml",
		cases + "/nginx/certificate.yaml":       "github.com/cert-manager/cert-manager@v1.21.2:deploy/crds/cert-manager.io_issuers.yaml,deploy/crds/cert-manager.io_certificates.yaml",
	} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := st.NewWithoutRole(t, nil)
			module, paths, _ := strings.Cut(definitions, ":")
			folder := st.ModuleDir(t, module)
			for path := range strings.SplitSeq(paths, ",") {
				apply(t, "", filepath.Join(folder, path), false)
			}
			manifest, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			st.Until(t, "the resource is served", func() error {
				return controlplane.Apply(t.Context(), st.ControlPlane().Config, s.Namespace, manifest, true)
			})
		})
	}
}

func apply(t *testing.T, namespace, file string, dryRun bool) {
	t.Helper()
	manifest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := controlplane.Apply(t.Context(), st.ControlPlane().Config, namespace, manifest, dryRun); err != nil {
		t.Fatal(err)
	}
}

// TestNetworkPolicy: the API server takes it, and it is about the port and the Pods of
// the Deployments beside it.
func TestNetworkPolicy(t *testing.T) {
	s := st.NewWithoutRole(t, nil)
	manifest, err := os.ReadFile("../../../examples/pod/networkpolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.DryRun(manifest)
	var policy networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict(manifest, &policy); err != nil {
		t.Fatal(err)
	}
	if got := policy.Spec.Ingress[0].Ports[0].Port.IntValue(); got != 29808 {
		t.Errorf("port: got %d, want 29808", got)
	}
	for _, file := range []string{"deployment.yaml", "deployment-webhook.yaml"} {
		deployment, err := os.ReadFile("../../../examples/pod/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range s.DryRun(deployment) {
			checkIdentity(t, pod)
			selector := labels.SelectorFromSet(policy.Spec.PodSelector.MatchLabels)
			if !selector.Matches(labels.Set(pod.Labels)) {
				t.Errorf("%s: the policy's %s does not select %v", file, selector, pod.Labels)
			}
		}
	}
}
