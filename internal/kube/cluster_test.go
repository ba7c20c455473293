package kube

import (
	"os"
	"path/filepath"
	"strings"
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
