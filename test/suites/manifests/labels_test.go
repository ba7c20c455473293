package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/helmchart"
	"github.com/secret-sync/secret-sync/test/harness/kustomize"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// TestManifests_haveTheRecommendedLabels checks that each object of the examples has the
// label app.kubernetes.io/name, and so have the Pods of each workload.
func TestManifests_haveTheRecommendedLabels(t *testing.T) {
	const examples = "../../../examples/"
	var manifests = map[string][]byte{}
	for _, pattern := range []string{"*/kustomization.yaml", "*/*/kustomization.yaml"} {
		files, err := filepath.Glob(examples + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			dir := filepath.Dir(file)
			if manifest, err := kustomize.Render(dir); err == nil { // a component does not render alone
				manifests[dir] = manifest
			}
		}
	}
	for _, pattern := range []string{"pod/*.yaml", "cases/writers/*/*.yaml", "cases/nginx/certificate.yaml"} {
		files, err := filepath.Glob(examples + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if manifests[file], err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	chart, err := helmchart.Template(charts+"/app", "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	manifests["helm"] = chart
	if len(manifests) < 18 {
		t.Fatalf("got %d manifests, want at least 18", len(manifests))
	}
	for name, manifest := range manifests {
		checkLabels(t, name, manifest)
	}
}

func checkLabels(t *testing.T, name string, manifest []byte) {
	t.Helper()
	const label = "app.kubernetes.io/name"
	objects, err := controlplane.Decode(manifest)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, o := range objects {
		if o.GetLabels()[label] == "" {
			t.Errorf("%s: %s %s has no label %s", name, o.GetKind(), o.GetName(), label)
		}
		for _, template := range templates(o.Object) {
			metadata, _ := template["metadata"].(map[string]any)
			labels, _ := metadata["labels"].(map[string]any)
			if labels[label] == nil {
				t.Errorf("%s: the Pods of %s %s have no label %s", name, o.GetKind(), o.GetName(), label)
			}
		}
	}
}

// templates returns the Pod templates in a workload, which are the objects with
// containers in their spec.
func templates(object map[string]any) (found []map[string]any) {
	if spec, ok := object["spec"].(map[string]any); ok && object["kind"] == nil && spec["containers"] != nil {
		return []map[string]any{object}
	}
	for _, value := range object {
		if child, ok := value.(map[string]any); ok {
			found = slices.Concat(found, templates(child))
		}
	}
	return found
}
