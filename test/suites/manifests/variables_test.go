package manifests

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/test/harness/helmchart"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// fixed are the variables that a manifest must not set, because the manifest defines their
// meaning: the mount path of the volume, and an init container instead of a sidecar.
var fixed = []string{"SECRETSYNC_DIR", "SECRETSYNC_ONE_SHOT"}

// settable returns the variables in the output of `secret-sync help`, except fixed.
func settable(t *testing.T, s *st.Scene) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(string(s.Print("help"))) {
		name, _, _ := strings.Cut(line, " ")
		if strings.HasPrefix(name, "SECRETSYNC_") && !slices.Contains(fixed, name) {
			names = append(names, name)
		}
	}
	if len(names) < 25 {
		t.Fatalf("got %d variables from help, want at least 25", len(names))
	}
	return names
}

// annotationOf returns the annotation for a variable.
func annotationOf(variable string) string {
	name := strings.ToLower(strings.TrimPrefix(variable, "SECRETSYNC_"))
	return "secret-sync/" + strings.ReplaceAll(name, "_", "-")
}

// fieldPaths returns the variables of a container from the downward API, and their
// fields.
func fieldPaths(c corev1.Container) map[string]string {
	paths := map[string]string{}
	for _, v := range c.Env {
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			paths[v.Name] = v.ValueFrom.FieldRef.FieldPath
		}
	}
	return paths
}

// identity returns the variables common to every sidecar.
func identity() map[string]string {
	return map[string]string{
		"POD_NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name", "POD_UID": "metadata.uid",
	}
}

// withAnnotations returns the variables of a sidecar that reads each of the given variables
// from its annotation.
func withAnnotations(variables []string) map[string]string {
	paths := identity()
	for _, v := range variables {
		paths[v] = fmt.Sprintf("metadata.annotations['%s']", annotationOf(v))
	}
	return paths
}

// TestInject_setsEveryVariable sets the annotation of every variable. The policy must add
// each variable for its annotation. Without the annotation it must not add the variable,
// because an empty SECRETSYNC_HTTP_ADDR disables the HTTP server.
func TestInject_setsEveryVariable(t *testing.T) {
	s := injected(t)
	variables := settable(t, s)
	annotations := map[string]string{}
	for _, v := range variables {
		annotations[annotationOf(v)] = "db"
	}
	for _, test := range []struct {
		annotations map[string]string
		want        map[string]string
	}{
		{annotations, withAnnotations(variables)},
		{map[string]string{"secret-sync/secrets": "db"}, withAnnotations([]string{"SECRETSYNC_SECRETS"})},
		{map[string]string{"secret-sync/optional-secrets": "db"},
			withAnnotations([]string{"SECRETSYNC_OPTIONAL_SECRETS"})},
		{map[string]string{"secret-sync/selector": "app=db"}, withAnnotations([]string{"SECRETSYNC_SELECTOR"})},
		{
			map[string]string{"secret-sync/secrets": "db", "secret-sync/http-addr": ""},
			withAnnotations([]string{"SECRETSYNC_SECRETS", "SECRETSYNC_HTTP_ADDR"}),
		},
	} {
		pod, err := create(s, plainPod(test.annotations))
		if err != nil {
			t.Fatalf("%v: %v", test.annotations, err)
		}
		if got := fieldPaths(pod.Spec.InitContainers[0]); !maps.Equal(got, test.want) {
			t.Errorf("%v: got variables %v, want %v", test.annotations, got, test.want)
		}
	}
}

// TestComponent_setsEveryVariable compares the component with the variables of the program.
// A component cannot omit a variable whose annotation is absent, so it omits
// SECRETSYNC_HTTP_ADDR, for which an empty value has a meaning.
func TestComponent_setsEveryVariable(t *testing.T) {
	s := st.NewWithoutRole(t, nil)
	variables := slices.DeleteFunc(settable(t, s), func(v string) bool { return v == "SECRETSYNC_HTTP_ADDR" })
	want := withAnnotations(variables)
	for _, pod := range s.DryRun(s.Kustomize("../../../examples/component/example")) {
		if got := fieldPaths(pod.Spec.InitContainers[0]); !maps.Equal(got, want) {
			t.Errorf("%s: got variables %v, want %v", pod.Name, got, want)
		}
	}
}

// TestHelm_setsEveryVariable sets each variable, by its own value or in env. The schema must
// reject an unknown variable.
func TestHelm_setsEveryVariable(t *testing.T) {
	s := st.NewWithoutRole(t, nil)
	own := map[string]string{
		"SECRETSYNC_SECRETS": "secrets: [db]", "SECRETSYNC_OPTIONAL_SECRETS": "optionalSecrets: [db]",
		"SECRETSYNC_PROCESS": "process: db", "SECRETSYNC_WEBHOOK_URL": `webhookURL: "http://db"`,
	}
	for _, v := range settable(t, s) {
		setting := own[v]
		if setting == "" {
			setting = "env: {" + v + ": db}"
		}
		manifest, err := helmchart.Template(charts+"/app", s.Namespace, values(t, "secret-sync: {"+setting+"}"))
		if err != nil {
			t.Errorf("%s: %v", v, err)
			continue
		}
		if got := variables(s.DryRun(manifest)[0].Spec.InitContainers[0])[v]; !strings.Contains(got, "db") {
			t.Errorf("%s: got value %q", v, got)
		}
	}
	for _, v := range append(fixed, "SECRETSYNC_SECRET") {
		_, err := helmchart.Template(charts+"/app", s.Namespace, values(t, "secret-sync: {env: {"+v+": db}}"))
		if err == nil || !strings.Contains(err.Error(), v) {
			t.Errorf("%s in env: got error %v, want it to be rejected", v, err)
		}
	}
}

// TestInject_setsResources sets CPU, memory and the size of the volume by annotation.
func TestInject_setsResources(t *testing.T) {
	s := injected(t)
	for query, want := range map[string]string{
		"secrets=db": "requests cpu 5m, memory 24Mi; limits cpu 0, memory 64Mi; volume 16Mi",
		"secrets=db&cpu-request=50m&cpu-limit=50m&memory-request=96Mi&memory-limit=96Mi&volume-size=32Mi": "" +
			"requests cpu 50m, memory 96Mi; limits cpu 50m, memory 96Mi; volume 32Mi",
	} {
		pod, err := create(s, plainPod(annotations(t, query)))
		if err != nil {
			t.Fatal(err)
		}
		requests, limits := pod.Spec.InitContainers[0].Resources.Requests, pod.Spec.InitContainers[0].Resources.Limits
		volume := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "secret-sync" })
		got := fmt.Sprintf("requests cpu %s, memory %s; limits cpu %s, memory %s; volume %s",
			requests.Cpu(), requests.Memory(), limits.Cpu(), limits.Memory(),
			pod.Spec.Volumes[volume].EmptyDir.SizeLimit)
		if got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

// TestInject_usesTheImageOfImageYAML compares the Pod's image with image.yaml.
func TestInject_usesTheImageOfImageYAML(t *testing.T) {
	s := injected(t)
	pod, err := create(s, plainPod(map[string]string{"secret-sync/secrets": "db"}))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../examples/inject/image.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := pod.Spec.InitContainers[0].Image; !strings.Contains(string(text), `image: "`+got+`"`) {
		t.Errorf("got image %q, want the image in image.yaml:\n%s", got, text)
	}
}
