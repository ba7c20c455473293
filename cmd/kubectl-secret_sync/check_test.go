package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check"
)

// goodManifest returns a manifest without a mistake, with texts replaced in pairs.
func goodManifest(t *testing.T, replacements ...string) string {
	t.Helper()
	text, err := os.ReadFile("check/testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(replacements...).Replace(string(text))
}

// TestCheck_exitCodes: errors, and not warnings, lead to the exit code 1.
func TestCheck_exitCodes(t *testing.T) {
	for _, c := range []struct {
		name, in, args string
		code           int
		want           string
	}{
		{"no finding", goodManifest(t), "-f -", 0, "0 errors, 0 warnings, 0 notes in 1 workload"},
		{"a warning", goodManifest(t, ", sizeLimit: 16Mi", ""), "-f -", 0, "stdin:79: warning: Deployment/app"},
		{"an error", goodManifest(t, "restartPolicy: Always", ""), "-f -", 1, "stdin:46: error: Deployment/app"},
		{"no sidecar", "{apiVersion: v1, kind: Pod, metadata: {name: a}}", "-f -", 2, "no workload of the input"},
		{"no input", "", "", 2, "nothing to check"},
		{"an unknown format", "", "-f - -o yaml", 2, "must be text or json"},
		{"files and names", "", "-f - deployment/app", 2, "exclude"},
		{"files and a kustomization", "", "-f - -k folder", 2, "exclude each other"},
		{"a kustomization", "", "-k ../../examples/component/example", 0,
			"0 errors, 0 warnings, 0 notes in 4 workloads"},
		{"an absent file", "", "-f absent.yaml", 1, "absent.yaml"},
		{"text that is no object", "{a: 1}", "-f -", 1, `unable to decode "stdin": Object 'Kind' is missing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errOut, code := execute(t, c.in, append([]string{"check"}, strings.Fields(c.args)...)...)
			if code != c.code || !strings.Contains(out+errOut, c.want) {
				t.Errorf("got code %d, %s%s\nwant code %d and %q", code, out, errOut, c.code, c.want)
			}
		})
	}
}

// TestCheck_json: the document names the file and the line of an item of a list, in a folder
// below the folder of the flag.
func TestCheck_json(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "below", "list.yaml")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	list := "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: other}\n" +
		"- apiVersion: v1\n  kind: Pod\n  metadata: {name: app}\n  spec:\n    initContainers:\n" +
		"    - name: secret-sync\n"
	if err := os.WriteFile(file, []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := execute(t, "", "check", "-R", "-f", dir, "-o", "json")
	var report check.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 {
		t.Fatalf("code %d, %v: %s%s", code, err, out, errOut)
	}
	for _, f := range report.Findings {
		if f.Rule == "native-sidecar" && f.File == file && f.Line == 12 && f.Field == "spec.initContainers[0]" {
			return
		}
	}
	t.Errorf("no finding about the init container in line 12:\n%s", out)
}

// TestCheck_printsNoPassword: neither a finding about a webhook nor an error about an object without
// a kind contains a value.
func TestCheck_printsNoPassword(t *testing.T) {
	_, errOut, _ := execute(t, "stringData: {password: canary}", "check", "-f", "-")
	if strings.Contains(errOut, "canary") {
		t.Error(errOut)
	}
	manifest := goodManifest(t, "example", "canary",
		"localhost:8080/reload", "user:canary@localhost:8081/canary?canary")
	out, errOut, _ := execute(t, manifest, "check", "-f", "-")
	if !strings.Contains(out, "port 8081") || strings.Contains(out+errOut, "canary") {
		t.Errorf("got %s%s, want the port and nothing else of the URL", out, errOut)
	}
}
