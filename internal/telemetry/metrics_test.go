package telemetry

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("got status %d", recorder.Code)
	}
	if got := recorder.Header().Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type: got %q", got)
	}
	return recorder.Body.String()
}

var noSources = Sources{Collect: func() {}}

func filled() (*Metrics, Sources) {
	m := NewMetrics()
	at := time.Unix(1700000000, 500_000_000)
	published(m, 6, 250*time.Microsecond, at)
	published(m, 7, 3*time.Millisecond, at)
	published(m, 8, 8*time.Second, at)
	m.PublishFailures.Add(1, "space")
	m.PublishFailures.Add(1, "io")
	m.PublishFailures.Add(1, "space")
	m.Repairs.Add(1)
	m.ProcessStart.Set(Seconds(at))
	m.SecretRequired.Set(1, "db")
	m.SecretRefused.Replace([]Series{{1, []string{"tls", `key "a\b" is` + "\nempty"}}})
	m.SecretPresent.Replace([]Series{{1, []string{"tls"}}, {0, []string{"db"}}})
	return m, Sources{Collect: func() {
		m.BuildInfo.Set(1, "v1.2.3", runtime.Version())
		m.WatchUp.Set(0, "selector")
		m.WatchUp.Set(1, "secret/db")
		m.LastContact.Set(Seconds(time.Time{}), "selector")
		m.LastContact.Set(Seconds(at), "secret/db")
		m.NotifyPending.Set(Bool(true), "webhook")
		m.NotifyPending.Set(Bool(false), "exec")
		m.Notifications.Set(0, "webhook", "success")
		m.Notifications.Set(3, "webhook", "failure")
		m.Notifications.Set(2, "exec", "success")
		m.Notifications.Set(0, "exec", "failure")
	}}
}

// published counts a generation as the program does.
func published(m *Metrics, generation uint64, took time.Duration, at time.Time) {
	m.Generation.Set(float64(generation))
	m.Publishes.Add(1)
	m.LastPublish.Set(Seconds(at))
	m.PublishDuration.Observe(took)
}

// exposition is the text of filled, without the buckets and the prefix.
var exposition = `build_info{version="v1.2.3",goversion="` + runtime.Version() + `"} 1
process_start_time_seconds 1.7000000005e+09
generation 8
publishes_total 3
publish_failures_total{reason="io"} 1
publish_failures_total{reason="space"} 2
last_publish_timestamp_seconds 1.7000000005e+09
publish_duration_seconds_sum 8.00325
publish_duration_seconds_count 3
repairs_total 1
secret_present{secret="db"} 0
secret_present{secret="tls"} 1
secret_required{secret="db"} 1
secret_refused{secret="tls",reason="key \"a\\b\" is\nempty"} 1
notifications_total{target="exec",result="failure"} 0
notifications_total{target="exec",result="success"} 2
notifications_total{target="webhook",result="failure"} 3
notifications_total{target="webhook",result="success"} 0
notify_pending{target="exec"} 0
notify_pending{target="webhook"} 1
watch_up{watch="secret/db"} 1
watch_up{watch="selector"} 0
last_contact_timestamp_seconds{watch="secret/db"} 1.7000000005e+09
last_contact_timestamp_seconds{watch="selector"} 0
log_lines_lost_total 0
go_goroutines 0
go_gc_heap_live_bytes 0
`

func TestMetrics_text(t *testing.T) {
	m, sources := filled()
	got := scrape(t, Handler(m, sources))
	parse(t, got)
	var samples []string
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket") {
			samples = append(samples, strings.TrimPrefix(line, "secretsync_"))
		}
	}
	if want := exposition; strings.Join(samples, "") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(samples, ""), want)
	}
	if again := scrape(t, Handler(m, sources)); again != got {
		t.Error("the order of a second scrape differs")
	}
}

// TestMetrics_fresh: every metric exists before anything happens, and the counters are 0, not absent.
func TestMetrics_fresh(t *testing.T) {
	got := scrape(t, Handler(NewMetrics(), noSources))
	types := parse(t, got)
	names := []string{
		"secretsync_generation", "secretsync_publishes_total", "secretsync_publish_failures_total",
		"secretsync_secret_refused",
		"secretsync_last_publish_timestamp_seconds", "secretsync_publish_duration_seconds", "secretsync_notifications_total",
		"secretsync_notify_pending", "secretsync_watch_up", "secretsync_last_contact_timestamp_seconds",
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
		"secretsync_publishes_total 0\n", "secretsync_repairs_total 0\n", "secretsync_last_publish_timestamp_seconds 0\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("got no %q", line)
		}
	}
}

func TestObserve_cumulative(t *testing.T) {
	m, sources := filled()
	got := scrape(t, Handler(m, sources))
	for _, want := range []string{`le="0.00025"} 1`, `le="0.0025"} 1`, `le="0.005"} 2`, `le="5"} 2`, `le="+Inf"} 3`} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("got no bucket %s in\n%s", want, got)
		}
	}
	if !slices.IsSorted(buckets) {
		t.Errorf("buckets: got %v, want them sorted", buckets)
	}
}

func TestReplace_removesSeries(t *testing.T) {
	m := NewMetrics()
	refused := []Series{{1, []string{"a", "why"}}, {1, []string{"b", "why"}}}
	m.SecretRefused.Replace(refused)
	m.SecretPresent.Replace([]Series{{1, []string{"a"}}, {1, []string{"b"}}})
	refused[0].Labels[0] = "c" // changed by the caller later
	m.SecretPresent.Replace([]Series{{1, []string{"b"}}})
	got := scrape(t, Handler(m, noSources))
	if strings.Contains(got, `present{secret="a"`) || strings.Contains(got, `secret="c"`) {
		t.Errorf("got a series of a Secret that is gone:\n%s", got)
	}
	m.SecretRefused.Replace(nil)
	if got := scrape(t, Handler(m, noSources)); strings.Contains(got, "secretsync_secret_refused{") {
		t.Errorf("got a refused Secret:\n%s", got)
	}
}

func TestMetrics_concurrent(t *testing.T) {
	m := NewMetrics()
	h := Handler(m, noSources)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				published(m, uint64(j), time.Millisecond, time.Now())
				m.PublishFailures.Add(1, strconv.Itoa(i))
				m.Repairs.Add(1)
				m.SecretRefused.Replace([]Series{{1, []string{"a", "b"}}})
				m.SecretPresent.Replace([]Series{{1, []string{"a"}}})
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
			}
		})
	}
	wg.Wait()
	got := scrape(t, h)
	if !strings.Contains(got, "secretsync_publishes_total 400\n") || !strings.Contains(got, "_count 400\n") {
		t.Errorf("got\n%s\nwant 400 publishes", got)
	}
}

func TestMetrics_labelsAreUTF8(t *testing.T) {
	m := NewMetrics()
	m.PublishFailures.Add(1, "a\xffb")
	if got := scrape(t, Handler(m, noSources)); !strings.Contains(got, "reason=\"a\uFFFDb\"") {
		t.Errorf("got\n%s", got)
	}
}

var (
	help       = regexp.MustCompile(`^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) [^\n]+$`)
	kind       = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([^}]|\\.)*\})? (\S+)$`)
	labelPairs = regexp.MustCompile(`^\{[a-z]+="([^"\\\n]|\\[\\"n])*"(,[a-z]+="([^"\\\n]|\\[\\"n])*")*\}$`)
)

// parse is a strict reader of the text format: each metric once, HELP, TYPE and
// then its samples, each series once. It gives the metrics' types.
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
