package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/telemetry"
)

// TestSecretsInMetrics: an absent Secret counts as 0 if it is listed by name. Otherwise
// its series ends. Secrets in SECRETSYNC_SECRETS are required.
func TestSecretsInMetrics(t *testing.T) {
	cfg := loadConfig(t, map[string]string{"SECRETSYNC_OPTIONAL_SECRETS": "tls", "SECRETSYNC_SELECTOR": "app=shop"})
	a := &sidecar{cfg: cfg, metrics: telemetry.NewMetrics()}
	a.describe(7)
	a.Secrets(map[string]pipeline.SecretState{
		"db": {Present: true, Rejected: layout.ReasonMissingKey}, "tls": {}, "selected": {Present: true}, "gone": {},
	})
	w := httptest.NewRecorder()
	telemetry.Handler(a.metrics, telemetry.Sources{Collect: func() {}}).ServeHTTP(w,
		httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "secretsync_secret_") {
			got = append(got, strings.TrimPrefix(line, "secretsync_secret_"))
		}
	}
	want := `present{secret="db"} 1
present{secret="selected"} 1
present{secret="tls"} 0
required{secret="db"} 1
refused{secret="db",reason="missing_key"} 1
`
	if strings.Join(got, "") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, ""), want)
	}
}

// TestStartInMetrics: each process exports its own start time. Prometheus detects a
// restart by it.
func TestStartInMetrics(t *testing.T) {
	began := time.Now().Truncate(time.Microsecond)
	a := &sidecar{cfg: &config.Config{}, metrics: telemetry.NewMetrics()}
	a.describe(0)
	w := httptest.NewRecorder()
	telemetry.Handler(a.metrics, telemetry.Sources{Collect: func() {}}).ServeHTTP(w,
		httptest.NewRequest("GET", "/metrics", nil))
	_, line, _ := strings.Cut(w.Body.String(), "\nprocess_start_time_seconds ")
	var got float64
	_, err := fmt.Sscan(line, &got)
	if err != nil || got < telemetry.Seconds(began) || got > telemetry.Seconds(time.Now()) {
		t.Errorf("started at %f, %v, want a time since %f", got, err, telemetry.Seconds(began))
	}
}

// TestCollect_runtime: a scrape reports the goroutines and the live heap, by which a leak shows.
func TestCollect_runtime(t *testing.T) {
	body := metricsOf(t, start(t, "http://127.0.0.1:1", t.TempDir(), "GOGC=1", "SECRETSYNC_HTTP_ADDR=127.0.0.1:0"))
	for _, name := range []string{"go_goroutines", "go_gc_heap_live_bytes"} {
		_, line, _ := strings.Cut(body, "\n"+name+" ")
		var value float64
		if _, err := fmt.Sscan(line, &value); err != nil || value < 1 {
			t.Errorf("%s is %v, %v", name, value, err)
		}
	}
}

// metricsOf scrapes a running sidecar at the address in its log.
func metricsOf(t *testing.T, p *testProcess) string {
	t.Helper()
	var listens struct{ Addr string }
	if err := json.Unmarshal([]byte(p.waitLog("http server listens")), &listens); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + listens.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
