package manifests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// writerObject is the part of an operator's object with the settings.
type writerObject struct {
	Kind string
	Spec struct {
		Path                  string
		AllowStaticCreds      bool
		Destination           *struct{ Transformation struct{ ExcludeRaw bool } }
		RolloutRestartTargets []any
		Data                  []struct{ RemoteRef struct{ Key string } }
		DataFrom              []struct{ Extract map[string]any }
	}
}

// faults returns the faults caused by the object.
func (o writerObject) faults() (all []string) {
	for _, data := range o.Spec.Data {
		if strings.HasPrefix(data.RemoteRef.Key, "creds/") {
			all = append(all, "a remoteRef reads a dynamic path: each remoteRef fetches its own lease")
		}
	}
	for _, from := range o.Spec.DataFrom {
		if from.Extract != nil {
			all = append(all, "dataFrom.extract adds keys that change at every refresh")
		}
	}
	if o.Spec.Destination == nil {
		return all
	}
	if !o.Spec.Destination.Transformation.ExcludeRaw {
		all = append(all, "without transformation.excludeRaw, the key _raw repeats every value")
	}
	if static := strings.HasPrefix(o.Spec.Path, "static-creds/"); static != o.Spec.AllowStaticCreds {
		all = append(all, fmt.Sprintf("allowStaticCreds is %v for the path %s", o.Spec.AllowStaticCreds, o.Spec.Path))
	}
	if len(o.Spec.RolloutRestartTargets) > 0 {
		all = append(all, "rolloutRestartTargets restarts the app")
	}
	return all
}

// TestWriters_settings checks for the settings that prevent the faults listed in
// examples/cases/writers/README.md. The definitions of the operators permit these faults.
func TestWriters_settings(t *testing.T) {
	manifests, err := filepath.Glob(cases + "/writers/*/*.yaml")
	if err != nil || len(manifests) != 6 {
		t.Fatalf("got manifests %q, %v", manifests, err)
	}
	for _, file := range manifests {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			var o writerObject
			if err := yaml.Unmarshal([]byte(document), &o); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, fault := range o.faults() {
				t.Errorf("%s: %s: %s", file, o.Kind, fault)
			}
		}
	}
}

// TestWriters_sidecar checks that only changes of the app's keys count, and that neither
// key is published without the other.
func TestWriters_sidecar(t *testing.T) {
	text, err := os.ReadFile(cases + "/writers/sidecar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var patch appsv1.Deployment
	if err := yaml.UnmarshalStrict(text, &patch); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"secret-sync/items":         "db/username=username,db/password=password",
		"secret-sync/required-keys": "db/username,db/password",
	} {
		if got := patch.Spec.Template.Annotations[name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
