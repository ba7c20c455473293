package rollout

import (
	"encoding/json"
	"net"
	"net/http"
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// fields is a JSON object.
type fields = map[string]any

// TestWaitDocument_proof: each Pod answers with a document that lacks a single part of the
// proof. No document counts, and each reason names the part.
func TestWaitDocument_proof(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	reasons := map[string]string{} // by Pod
	for _, c := range []struct {
		name, reason string
		change       func(document, secret, target fields)
	}{
		{"format", "its format is 1", func(d, _, _ fields) { d["format"] = 1 }},
		{"no-targets", "targets is missing", func(d, _, _ fields) { delete(d, "targets") }},
		{"null", "targets is missing", func(d, _, _ fields) { d["targets"] = nil }},
		{"no-name", "targets.name is missing", func(_, _, target fields) { delete(target, "name") }},
		{"no-pod", "its sidecar does not know its Pod", func(d, _, _ fields) { d["podUID"] = "" }},
		{"other-pod", "another Pod answers", func(d, _, _ fields) { d["podUID"] = "another" }},
		{"namespace", "another Pod answers", func(d, _, _ fields) { d["namespace"] = "another" }},
		{"instance", "does not identify the process", func(d, _, _ fields) { d["instance"] = "" }},
		{"volume", "does not identify the process", func(d, _, _ fields) { d["volume"] = "" }},
		{"incomplete", "not in the volume", func(d, _, _ fields) { d["complete"] = false }},
		{"no-files", "not in the volume", func(_, secret, _ fields) { secret["generation"] = 0 }},
		{"absent", "sees no such Secret", func(_, secret, _ fields) { secret["present"] = false }},
		{"uid", "another Secret of that name", func(_, secret, _ fields) { secret["uid"] = "another" }},
		{"lost", "the API server does not have", func(_, secret, _ fields) { secret["resourceVersion"] = "99999999" }},
		{"old", "its sidecar has version 1", func(_, secret, _ fields) { secret["resourceVersion"] = "1" }},
		{"refused", "rejects the Secret: no_keys", func(_, secret, _ fields) { secret["refused"] = "no_keys" }},
		{"down", "watch of its sidecar is down",
			func(d, _, _ fields) { d["watches"].([]any)[0].(fields)["up"] = false }},
		{"selector-down", "watch of its sidecar is down", func(d, _, _ fields) { // the selector may match the Secret
			d["secrets"], d["watches"] = fields{}, []any{fields{"name": "selector", "up": false}}
		}},
		{"pending", "webhook is not notified yet", func(_, _, target fields) { target["notified"] = 1 }},
		{"emptied", "webhook is not notified yet", func(_, _, target fields) { target["notified"] = 3 }},
	} {
		pod := newPod(t, s, c.name, newAddress(), oneSidecar)
		d := newDocument(s, pod)
		secret, target := d["secrets"].(fields)["db"].(fields), d["targets"].([]any)[0].(fields)
		c.change(d, secret, target)
		serve(t, pod.Status.PodIP+":29808", d)
		reasons[c.name] = c.reason
	}
	hello := newPod(t, s, "hello", newAddress(), oneSidecar)
	serve(t, hello.Status.PodIP+":29808", "hello")
	reasons["hello"] = "no JSON object"
	wait := startWait(t, s, kubeconfig, "--direct", "--timeout", "5s")
	wait.exits(1)
	for pod, reason := range reasons {
		line := regexp.MustCompile(`(?m)^Pod ` + pod + `: .*` + regexp.QuoteMeta(reason))
		if text := wait.err.String(); !line.MatchString(text) {
			t.Errorf("lacks %q:\n%s", line, text)
		}
	}
}

// TestWaitDocument_complete: a document with every part counts, also with a new field.
func TestWaitDocument_complete(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	pod := newPod(t, s, "app", newAddress(), oneSidecar)
	d := newDocument(s, pod)
	d["new"], d["targets"] = 1, []any{}
	serve(t, pod.Status.PodIP+":29808", d)
	startWait(t, s, kubeconfig, "--direct").exits(0, "files in place, nobody was notified in app")
	startWait(t, s, kubeconfig, "--direct", "--require-notified").exits(1, "nobody was notified")
}

// TestWaitDocument_sameInstance: two answers of a process never count for two containers, also
// if they name different volumes.
func TestWaitDocument_sameInstance(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	second := corev1.Container{Name: "second", Image: "secret-sync:1"}
	second.Ports = []corev1.ContainerPort{{Name: "secret-sync", ContainerPort: 29809}}
	pod := newPod(t, s, "app", newAddress(), []corev1.Container{sidecarContainer, second})
	for _, port := range []string{"29808", "29809"} {
		d := newDocument(s, pod)
		d["volume"] = "volume of " + port
		serve(t, pod.Status.PodIP+":"+port, d)
	}
	startWait(t, s, kubeconfig, "--direct", "--timeout", "1s").exits(1, "answers in its place")
}

// newDocument returns a document of a sidecar of the Pod that is done.
func newDocument(s *st.Scene, pod *corev1.Pod) fields {
	version := s.Get("db")
	return fields{
		"format": 2, "namespace": s.Namespace, "pod": pod.Name, "podUID": pod.UID, "instance": "i", "volume": "v",
		"generation": 2, "complete": true,
		"secrets": fields{"db": fields{
			"present": true, "uid": version.UID, "resourceVersion": version.ResourceVersion,
			"dataSince": version.ResourceVersion, "previousData": fields{"since": "", "until": ""},
			"generation": 2, "refused": "",
		}},
		"targets": []any{fields{
			"name": "webhook", "notified": 2, "pending": false, "successes": 1, "failures": 0, "error": "",
		}},
		"watches": []any{fields{"name": "secret/db", "up": true}},
	}
}

// serve answers every request at the address with the JSON of the document.
func serve(t testing.TB, address string, document any) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(document)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}
