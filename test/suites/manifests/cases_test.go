package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

const cases = "../../../examples/cases"

// TestCases_restricted applies each case, and compares its Role with the output of
// `secret-sync rbac` for the environment of its Pod.
func TestCases_restricted(t *testing.T) {
	files, err := filepath.Glob(cases + "/*/kustomization.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("got %d cases, %v", len(files), err)
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s := st.NewWithoutRole(t, nil)
			s.Restrict()
			manifest := s.Kustomize(dir)
			pods := s.DryRun(manifest)
			if len(pods) != 1 {
				t.Fatalf("got %d Pods, want 1", len(pods))
			}
			checkIdentity(t, pods[0])
			checkRole(t, manifest, s.PrintWith(effective(pods[0]), "rbac", "app"))
		})
	}
}

// effective returns the variables of the sidecar with the values of the Pod's annotations,
// and the Secrets of all sidecars.
func effective(pod *corev1.Pod) st.Env {
	env := variables(pod.Spec.InitContainers[0])
	for _, sidecar := range pod.Spec.InitContainers[1:] {
		env["SECRETSYNC_SECRETS"] += "," + variables(sidecar)["SECRETSYNC_SECRETS"]
	}
	for annotation, value := range pod.Annotations {
		if name, ok := strings.CutPrefix(annotation, "secret-sync/"); ok {
			env["SECRETSYNC_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
		}
	}
	return env
}

// The folders of CRDs in the Go modules of two operators.
const (
	externalSecrets = "github.com/external-secrets/external-secrets@v0.16.2:config/crds/bases/"
	vaultSecrets    = "github.com/hashicorp/vault-secrets-operator@v0.10.0:config/crd/bases/"
)

// TestWriters_matchTheirDefinitions applies the resources of the operators that write the
// Secret. The definitions come from the operators' own Go modules.
func TestWriters_matchTheirDefinitions(t *testing.T) {
	for file, definitions := range map[string]string{
		cases + "/writers/external-secrets/store.yaml": externalSecrets + "external-secrets.io_secretstores.yaml",
		cases + "/writers/external-secrets/static-role.yaml": externalSecrets +
			"external-secrets.io_externalsecrets.yaml",
		cases + "/writers/external-secrets/dynamic.yaml": externalSecrets +
			"external-secrets.io_externalsecrets.yaml," +
			"config/crds/bases/generators.external-secrets.io_vaultdynamicsecrets.yaml",
		cases + "/writers/vault-secrets-operator/connection.yaml": vaultSecrets +
			"secrets.hashicorp.com_vaultconnections.yaml,config/crd/bases/secrets.hashicorp.com_vaultauths.yaml",
		cases + "/writers/vault-secrets-operator/static-role.yaml": vaultSecrets +
			"secrets.hashicorp.com_vaultdynamicsecrets.yaml",
		cases + "/writers/vault-secrets-operator/dynamic.yaml": vaultSecrets +
			"secrets.hashicorp.com_vaultdynamicsecrets.yaml",
		cases + "/nginx/certificate.yaml": "github.com/cert-manager/cert-manager@v1.21.2:" +
			"deploy/crds/cert-manager.io_issuers.yaml,deploy/crds/cert-manager.io_certificates.yaml",
	} {
		t.Run(strings.TrimPrefix(file, cases+"/"), func(t *testing.T) {
			s := st.NewWithoutRole(t, nil)
			module, paths, _ := strings.Cut(definitions, ":")
			dir := st.ModuleDir(t, module)
			for path := range strings.SplitSeq(paths, ",") {
				apply(t, "", filepath.Join(dir, path), false)
			}
			manifest, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			testsupport.Eventually(t, "the resource is served", func() error {
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

// TestNetworkPolicy_selectsTheExamplePods applies the policy and checks its port. Its
// selector must match the Pods of the Deployments in the same directory.
func TestNetworkPolicy_selectsTheExamplePods(t *testing.T) {
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
	var egress []int
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			egress = append(egress, port.Port.IntValue())
		}
	}
	if !slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) ||
		!slices.Contains(egress, 443) || !slices.Contains(egress, 6443) {
		t.Errorf("policy types %v with egress to ports %v, want the API server", policy.Spec.PolicyTypes, egress)
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
