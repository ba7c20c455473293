package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/telemetry"
)

// TestSecretsInMetrics: a named Secret that is absent is 0, and another that is gone
// takes its series with it.
func TestSecretsInMetrics(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SECRETSYNC_SECRETS", "db")
	t.Setenv("SECRETSYNC_OPTIONAL_SECRETS", "tls")
	t.Setenv("SECRETSYNC_SELECTOR", "app=shop")
	cfg, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	a := &app{cfg: cfg, metrics: telemetry.NewMetrics()}
	observer{a}.Seen(map[string]pipeline.Observed{
		"db": {Present: true, Refused: layout.ReasonMissingKey}, "tls": {}, "selected": {Present: true}, "gone": {},
	})
	w := httptest.NewRecorder()
	telemetry.Handler(a.metrics, telemetry.Sources{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "secretsync_secret_") {
			got = append(got, strings.TrimPrefix(line, "secretsync_secret_"))
		}
	}
	want := `present{secret="db"} 1
present{secret="selected"} 1
present{secret="tls"} 0
refused{secret="db",reason="missing_key"} 1
`
	if strings.Join(got, "") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, ""), want)
	}
}
