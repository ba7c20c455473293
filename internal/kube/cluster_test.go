package kube

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestClusterConfig: KUBECONFIG takes precedence over the Pod's service account, and an
// error names the sources.
func TestClusterConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	content := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://example.test:1'}}]\n" +
		"contexts: [{name: c, context: {cluster: c, user: ''}}]\ncurrent-context: c\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, kubeconfig, host, want, wantErr string }{
		{name: "KUBECONFIG", kubeconfig: file, host: "10.0.0.1", want: "https://example.test:1"},
		{name: "missing KUBECONFIG", kubeconfig: file + "x", host: "10.0.0.1", wantErr: "KUBECONFIG"},
		{name: "Pod without a token", host: "10.0.0.1", wantErr: "token"},
		{name: "no source", wantErr: "KUBERNETES_SERVICE_HOST is not set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", c.kubeconfig)
			t.Setenv("KUBERNETES_SERVICE_HOST", c.host)
			t.Setenv("KUBERNETES_SERVICE_PORT", "443")
			cfg, err := ClusterConfig()
			switch {
			case c.wantErr != "":
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("got %v, want %q", err, c.wantErr)
				}
			case err != nil:
				t.Error(err)
			case cfg.Host != c.want:
				t.Errorf("host: got %q, want %q", cfg.Host, c.want)
			}
		})
	}
}

// inPod makes this test binary the program of a Pod with an empty CA file.
const inPod = "TEST_IN_POD"

// TestClusterConfig_emptyCA: in a Pod, ca.crt may be empty for a moment. The configuration
// names the file, so Renew reads it again.
func TestClusterConfig_emptyCA(t *testing.T) {
	if os.Getenv(inPod) != "" {
		checkEmptyCA(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestClusterConfig_emptyCA$")
	cmd.Env = append(os.Environ(), inPod+"=1", "KUBECONFIG=", "KUBERNETES_SERVICE_HOST=10.0.0.1",
		"KUBERNETES_SERVICE_PORT=443")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skip("a mount namespace needs root")
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}

// checkEmptyCA runs in its own mount namespace.
func checkEmptyCA(t *testing.T) {
	if err := syscall.Mount("tmpfs", "/var/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(serviceAccountCA)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "token"), []byte("t"))
	write(t, serviceAccountCA, nil)
	cfg, err := ClusterConfig()
	if err != nil || cfg.CAFile != serviceAccountCA {
		t.Errorf("got %+v, %v, want the CA file %s", cfg, err, serviceAccountCA)
	}
}
