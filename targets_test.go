package main

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/secret-sync/secret-sync/internal/config"
)

// TestTargetNames: one of a kind is called after it, and several each have a name.
// Both are keys of records in volumes that outlive this version.
func TestTargetNames(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SECRETSYNC_SECRETS", "db")
	for _, c := range []struct {
		process, pidFile, webhook, exec string
		want                            []string
	}{
		{"", "", "", "", nil},
		{"app", "", "http://a", `["true"]`, []string{"process", "webhook", "exec"}},
		{"", "/run/pid", "", "", []string{"process"}},
		{"nginx,app:USR1", "", "", "", []string{"process/nginx", "process/app"}},
		{"nginx", "/run/pid", "", "", []string{"process/nginx", "pidfile/1"}},
		{"", "/a,/b:USR1", "", "", []string{"pidfile/1", "pidfile/2"}},
		{"app", "", "http://a,http://b", "", []string{"process", "webhook/1", "webhook/2"}},
	} {
		t.Setenv("SECRETSYNC_PROCESS", c.process)
		t.Setenv("SECRETSYNC_PID_FILE", c.pidFile)
		t.Setenv("SECRETSYNC_WEBHOOK_URL", c.webhook)
		t.Setenv("SECRETSYNC_EXEC", c.exec)
		cfg, err := config.Load()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, target := range newTargets(cfg, slog.New(slog.DiscardHandler)) {
			got = append(got, target.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
