package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/telemetry"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/writer"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestMetrics_fresh: every metric exists before anything happens, in the text format, and the counters are 0, not
// absent.
func TestMetrics_fresh(t *testing.T) {
	began := time.Now().Truncate(time.Microsecond)
	p := start(t, "http://127.0.0.1:1", t.TempDir(), "GOGC=1", "SECRETSYNC_HTTP_ADDR=127.0.0.1:0",
		"SECRETSYNC_WEBHOOK_URL=http://127.0.0.1:1/", `SECRETSYNC_EXEC=["true"]`, "SECRETSYNC_SELECTOR=app=shop")
	got := scrape(t, p.address())
	types := parse(t, got)
	names := []string{
		"secretsync_generation", "secretsync_publishes_total", "secretsync_publish_failures_total",
		"secretsync_secret_refused", "secretsync_notifications_total", "secretsync_notify_pending",
		"secretsync_notify_stopped",
		"secretsync_last_publish_timestamp_seconds", "secretsync_publish_duration_seconds",
		"secretsync_watch_up", "secretsync_last_contact_timestamp_seconds",
		"secretsync_secret_present", "secretsync_secret_required", "secretsync_repairs_total", "secretsync_build_info",
		"process_start_time_seconds", "secretsync_log_lines_lost_total", "go_goroutines", "go_gc_heap_live_bytes",
	}
	for _, name := range names {
		if types[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if len(types) != len(names) {
		t.Errorf("got %d metrics, want these %d", len(types), len(names))
	}
	for _, line := range []string{
		"generation 0", "publishes_total 0", "repairs_total 0", "last_publish_timestamp_seconds 0",
		"publish_duration_seconds_count 0", "publish_duration_seconds_sum 0", "log_lines_lost_total 0",
		`secret_required{secret="db"} 1`, `watch_up{watch="secret/db"} 0`, `watch_up{watch="selector"} 0`,
		`last_contact_timestamp_seconds{watch="selector"} 0`,
		`notify_pending{target="webhook"} 0`, `notifications_total{target="webhook",result="success"} 0`,
		`notify_pending{target="exec"} 0`, `notifications_total{target="exec",result="failure"} 0`,
	} {
		if !strings.Contains(got, "\nsecretsync_"+line+"\n") {
			t.Errorf("got no %q in\n%s", line, got)
		}
	}
	if want := `goversion="` + runtime.Version() + `"} 1`; !strings.Contains(got, want) {
		t.Errorf("got no %q", want)
	}
	// A scrape reports the goroutines and the live heap, by which a leak shows. Prometheus detects a restart by the
	// start time, so each process exports its own.
	for name, lowest := range map[string]float64{
		"go_goroutines": 1, "go_gc_heap_live_bytes": 1, "process_start_time_seconds": telemetry.Seconds(began),
	} {
		_, line, _ := strings.Cut(got, "\n"+name+" ")
		var value float64
		if _, err := fmt.Sscan(line, &value); err != nil || value < lowest {
			t.Errorf("%s is %v, %v, want at least %v", name, value, err, lowest)
		}
	}
}

// TestMetrics_stopped: a restarted sidecar shows that it sends no signal, because the process ended after two signals.
func TestMetrics_stopped(t *testing.T) {
	dir := t.TempDir()
	opts := writer.Options{Dir: dir, FileMode: 0o400, Logger: slog.New(slog.DiscardHandler), Repaired: func() {}}
	w, err := writer.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	settings := process.New(process.Options{Signal: syscall.SIGHUP}).Settings()
	record := notification.TargetRecord{Ends: 2, Settings: settings}
	_, err = w.Publish(t.Context(), generation.Content{Complete: true})
	if err := errors.Join(err, w.SetTargetRecord("process:app", record), w.Close()); err != nil {
		t.Fatal(err)
	}
	p := start(t, "http://127.0.0.1:1", dir, "SECRETSYNC_HTTP_ADDR=127.0.0.1:0", "SECRETSYNC_PROCESS=app,other",
		"SECRETSYNC_SIGNAL_CHECK=false", "SECRETSYNC_SIGNAL_EXIT_CHECK=false", "SECRETSYNC_PROCESS_MIN_AGE=0s")
	got := scrape(t, p.address())
	for _, line := range []string{`notify_stopped{target="process/app"} 1`,
		`notify_stopped{target="process/other"} 0`} {
		if !strings.Contains(got, "\nsecretsync_"+line+"\n") {
			t.Errorf("got no %q in\n%s", line, got)
		}
	}
}

// TestMetrics_events: a process counts its publishes, its notifications and the repairs, and shows the state of the
// watch.
func TestMetrics_events(t *testing.T) {
	server := httptest.NewServer(&api{})
	t.Cleanup(server.CloseClientConnections)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(app.Close)
	p := start(t, server.URL, t.TempDir(), "SECRETSYNC_HTTP_ADDR=127.0.0.1:0", "SECRETSYNC_NOTIFY_FIRST=true",
		"SECRETSYNC_WEBHOOK_URL="+app.URL+"/fail,"+app.URL)
	addr := p.address()
	var got string
	for _, line := range []string{
		"generation 1", "publishes_total 1", "publish_duration_seconds_count 1",
		`publish_duration_seconds_bucket{le="+Inf"} 1`,
		`secret_present{secret="db"} 1`, `watch_up{watch="secret/db"} 1`,
		`notify_pending{target="webhook/1"} 1`, `notifications_total{target="webhook/1",result="success"} 0`,
		`notify_pending{target="webhook/2"} 0`, `notifications_total{target="webhook/2",result="success"} 1`,
	} {
		eventually(t, line, func() bool {
			got = scrape(t, addr)
			return strings.Contains(got, "\nsecretsync_"+line+"\n")
		})
	}
	eventually(t, "a failed notification", func() bool {
		got = scrape(t, addr)
		return !strings.Contains(got, `notifications_total{target="webhook/1",result="failure"} 0`)
	})
	parse(t, got)
	const contact = `last_contact_timestamp_seconds{watch="secret/db"}`
	for _, name := range []string{"last_publish_timestamp_seconds", contact} {
		if strings.Contains(got, "\nsecretsync_"+name+" 0\n") || !strings.Contains(got, "\nsecretsync_"+name+" ") {
			t.Errorf("got no time of %s in\n%s", name, got)
		}
	}
}

// TestMetrics_secrets: an absent Secret counts as 0 if it is listed by name. Otherwise
// its series ends. Secrets in SECRETSYNC_SECRETS are required.
func TestMetrics_secrets(t *testing.T) {
	cfg := loadConfig(t, map[string]string{"SECRETSYNC_OPTIONAL_SECRETS": "tls", "SECRETSYNC_SELECTOR": "app=shop"})
	a := &sidecar{cfg: cfg}
	check := func(want string) {
		t.Helper()
		w := httptest.NewRecorder()
		handler := telemetry.Handler(telemetry.Sources{Metrics: a.writeSecrets})
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		var got strings.Builder
		for line := range strings.Lines(w.Body.String()) {
			if !strings.HasPrefix(line, "#") {
				got.WriteString(strings.TrimPrefix(line, "secretsync_secret_"))
			}
		}
		if got.String() != want {
			t.Errorf("got\n%s\nwant\n%s", &got, want)
		}
	}
	a.Secrets(map[string]pipeline.SecretState{
		"db": {Present: true, Rejected: layout.ReasonMissingKey}, "tls": {}, "selected": {Present: true}, "gone": {},
	})
	check(`present{secret="db"} 1
present{secret="selected"} 1
present{secret="tls"} 0
required{secret="db"} 1
refused{secret="db",reason="missing_key"} 1
`)
	a.Secrets(map[string]pipeline.SecretState{"db": {Present: true}, "tls": {}, "selected": {}})
	check(`present{secret="db"} 1
present{secret="tls"} 0
required{secret="db"} 1
`)
}

// address returns the address of the HTTP server in the log of a running sidecar.
func (p *testProcess) address() string {
	p.t.Helper()
	var listens struct{ Addr string }
	if err := json.Unmarshal([]byte(p.waitLog("http server listens")), &listens); err != nil {
		p.t.Fatal(err)
	}
	return listens.Addr
}

func scrape(t *testing.T, addr string) string {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type: got %q", got)
	}
	return string(body)
}

var (
	help       = regexp.MustCompile(`^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) [^\n]+$`)
	kind       = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([^}]|\\.)*\})? (\S+)$`)
	labelPairs = regexp.MustCompile(`^\{[a-z]+="([^"\\\n]|\\[\\"n])*"(,[a-z]+="([^"\\\n]|\\[\\"n])*")*\}$`)
)

// parse is a strict reader of the text format: each metric once, HELP, TYPE and
// then its samples, each series once. It returns the metrics' types.
func parse(t *testing.T, text string) map[string]string {
	t.Helper()
	types, series := map[string]string{}, map[string]bool{}
	var name string
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if err := parseLine(line, &name, types, series); err != nil {
			t.Errorf("line %d, %q: %v", i+1, line, err)
		}
	}
	return types
}

func parseLine(line string, name *string, types map[string]string, series map[string]bool) error {
	if m := help.FindStringSubmatch(line); m != nil {
		if *name = m[1]; types[*name] != "" {
			return errors.New("the metric is there twice")
		}
		return nil
	}
	if m := kind.FindStringSubmatch(line); m != nil {
		if m[1] != *name || types[*name] != "" {
			return errors.New("TYPE does not follow its HELP")
		}
		if types[*name] = m[2]; (m[2] == "counter") != strings.HasSuffix(*name, "_total") {
			return errors.New("a counter ends in _total, nothing else does")
		}
		return nil
	}
	m := sampleLine.FindStringSubmatch(line)
	if m == nil || m[2] != "" && !labelPairs.MatchString(m[2]) {
		return errors.New("not a sample")
	}
	base := m[1]
	if types[*name] == "histogram" {
		base = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(base, "")
	}
	if base != *name {
		return fmt.Errorf("a sample of another metric than %s", *name)
	}
	if _, err := strconv.ParseFloat(m[4], 64); err != nil || series[m[1]+m[2]] {
		return fmt.Errorf("no value, or the series twice: %w", err)
	}
	series[m[1]+m[2]] = true
	return nil
}
