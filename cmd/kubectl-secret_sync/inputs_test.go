package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// noLimit is a manifest with a single mistake: its volume has no sizeLimit.
func noLimit(t *testing.T) string { return goodManifest(t, ", sizeLimit: 16Mi", "") }

// asJSON returns the documents of a manifest, each as a JSON object on several lines.
func asJSON(t *testing.T, manifest string) (objects []string) {
	t.Helper()
	for document := range strings.SplitSeq(manifest, "---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(object, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, string(text))
	}
	return objects
}

// indent indents each line of a text.
func indent(text string, spaces int) string {
	margin := strings.Repeat(" ", spaces)
	return margin + strings.ReplaceAll(strings.Trim(text, "\n"), "\n", "\n"+margin)
}

// TestCheck_forms: check finds the mistake in the right line of each form of the same objects.
func TestCheck_forms(t *testing.T) {
	manifest := noLimit(t)
	objects := asJSON(t, manifest)
	_, deployment, _ := strings.Cut(manifest, "kind: Deployment\n")
	_, spec, _ := strings.Cut(deployment, "\nspec:\n")
	list := "apiVersion: v1\nkind: List\nitems:\n"
	for document := range strings.SplitSeq(manifest, "---\n") {
		list += "- " + strings.TrimSpace(indent(document, 2)) + "\n"
	}
	const emptyDir = "{name: secrets, emptyDir: {medium: Memory}}"
	for name, in := range map[string]string{
		"several documents": manifest,
		"Windows line ends": strings.ReplaceAll(manifest, "\n", "\r\n"),
		"a byte order mark": "\ufeff" + manifest,
		"empty documents and comments": "# Source: a/b.yaml\n---\n---\n" +
			strings.ReplaceAll(manifest, "---\n", "---\n# Source: a/c.yaml\n\n"),
		"a list": list,
		"a list in JSON": `{"apiVersion": "v1", "kind": "List", "items": [` +
			strings.Join(objects, ",\n") + "]}",
		"JSON objects":   strings.Join(objects, "\n"),
		"JSON documents": strings.Join(objects, "\n---\n"),
		"a list of Deployments": "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- apiVersion: apps/v1\n" +
			"  kind: Deployment\n" + indent(deployment, 2),
		"a CronJob": "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: app, namespace: shop}\nspec:\n" +
			"  jobTemplate:\n    spec:\n" + indent(spec, 4),
		"a kind that check does not know": strings.NewReplacer("apps/v1", "argoproj.io/v1alpha1", "kind: Deployment",
			"kind: Rollout").Replace(manifest),
		"a generated name": strings.Replace(manifest, "{name: app, namespace: shop}\nspec:\n  sel",
			"{generateName: app-, namespace: shop}\nspec:\n  sel", 1),
		"a second document": manifest +
			"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: shop}\n",
		"an anchor": strings.NewReplacer(emptyDir, "{name: secrets, emptyDir: *memory}",
			"labels: {app: app}", "labels: {app: app}\n      x: &memory {medium: Memory}").Replace(manifest),
		"a merge key": strings.NewReplacer(emptyDir, "{<<: *files, name: secrets}",
			"labels: {app: app}", "labels: {app: app}\n      x: &files {emptyDir: {medium: Memory}}").Replace(manifest),
	} {
		t.Run(name, func(t *testing.T) {
			out, errOut, code := execute(t, in, "check", "-f", "-")
			place, _, found := strings.Cut(out, ": volume secrets has no sizeLimit")
			i := strings.LastIndex(place, "stdin:")
			if !found || i < 0 || code != 0 {
				t.Fatalf("got code %d, %s%s\nwant a warning about the sizeLimit", code, out, errOut)
			}
			var line int
			if _, err := fmt.Sscanf(place[i:], "stdin:%d:", &line); err != nil {
				t.Fatal(err)
			}
			if text := strings.Split(in, "\n")[line-1]; !strings.Contains(text, "emptyDir") {
				t.Errorf("got line %d, %q, want the line of the emptyDir", line, text)
			}
		})
	}
}

// TestCheck_invalidInput: the error names the input and the mistake.
func TestCheck_invalidInput(t *testing.T) {
	for _, c := range []struct {
		name, in, args string
		code           int
		want           string
	}{
		{"empty", "", "-f -", 2, "no workload of the input runs secret-sync"},
		{"only comments", "# nothing\n---\n---\n", "-f -", 2, "no workload of the input runs secret-sync"},
		{"text", "not an object", "-f -", 1, `unable to decode "stdin"`},
		{"a tab", "a:\n\tb: 1\n", "-f -", 1, "error parsing stdin: error converting YAML to JSON: yaml: line 2"},
		{"a number as a value", goodManifest(t, "value: db}", "value: 7}"), "-f -", 1,
			"Deployment/app of stdin: read the Pod's spec: json: cannot unmarshal number"},
		{"other containers", "{apiVersion: example.com/v1, kind: Ship, metadata: {name: a}, " +
			"spec: {template: {spec: {containers: 7}}}}", "-f -", 2, "no workload of the input runs secret-sync"},
		{"a dash", "", "-", 2, "for a file, use -f -"},
		{"a file", "", "app.yaml", 2, `"app.yaml" is no workload of the cluster: for a file, use -f app.yaml`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errOut, code := execute(t, c.in, append([]string{"check"}, strings.Fields(c.args)...)...)
			if code != c.code || !strings.Contains(errOut, c.want) {
				t.Errorf("got code %d, %s%s\nwant code %d and %q", code, out, errOut, c.code, c.want)
			}
		})
	}
}

// TestCheck_duplicates: objects with the same name keep their own lines, and two sidecars of a Pod their own findings.
func TestCheck_duplicates(t *testing.T) {
	pod := `apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
  - {name: first, image: "a/secret-sync:1"}
  - {name: second, image: "a/secret-sync:1"}
`
	out, _, _ := execute(t, pod+"---\n"+pod, "check", "-f", "-")
	for _, want := range []string{
		"stdin:6: error: Pod/app: spec.containers[0].env: POD_NAMESPACE",
		"stdin:7: error: Pod/app: spec.containers[1].env: POD_NAMESPACE",
		"stdin:14: error: Pod/app: spec.containers[0].env: POD_NAMESPACE",
		"stdin:15: error: Pod/app: spec.containers[1].env: POD_NAMESPACE",
		"in 2 workloads",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q", out, want)
		}
	}
}

// TestCheck_otherVolumes: a volume of another kind is a mistake. A Secret in a projected volume, and in the variables
// of an app, is a second way to the Secret.
func TestCheck_otherVolumes(t *testing.T) {
	const memory = "emptyDir: {medium: Memory, sizeLimit: 16Mi}"
	const inVolume = "volume secrets contains the Secret db in addition"
	for change, want := range map[string]string{
		"ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}": "volume secrets is not an emptyDir",
		"projected: {sources: [{secret: {name: db}}]}":                             inVolume,
		"secret: {secretName: db}":                                                 "volume secrets is not an emptyDir",
	} {
		out, _, code := execute(t, goodManifest(t, memory, change), "check", "-f", "-")
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: got code %d, want %q:\n%s", change, code, want, out)
		}
	}
	out, _, code := execute(t, goodManifest(t, "env: [{name: MODE, value: test}]",
		"envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: db}}]"), "check", "-f", "-")
	if code != 0 || !strings.Contains(out, "envFrom[1]: container app reads the Secret db into variables") {
		t.Errorf("got code %d, want a warning about envFrom:\n%s", code, out)
	}
}
