package telemetry

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// scrape returns the response for /metrics without the lines of HELP and TYPE.
func scrape(t *testing.T, write func(Page)) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	Handler(Sources{Metrics: write}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("got status %d", recorder.Code)
	}
	if got := recorder.Header().Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type: got %q", got)
	}
	var samples strings.Builder
	for line := range strings.Lines(recorder.Body.String()) {
		if !strings.HasPrefix(line, "#") {
			samples.WriteString(line)
		}
	}
	return samples.String()
}

// TestPage_series: the values of labels are escaped and valid UTF-8.
func TestPage_series(t *testing.T) {
	at := time.Unix(1700000000, 500_000_000)
	got := scrape(t, func(p Page) {
		p.Add("secretsync_secret_refused", Bool(true), "secret", "tls", "reason", `key "a\b" is`+"\nempty")
		p.Add("process_start_time_seconds", Seconds(at))
		p.Add("secretsync_secret_refused", Bool(false), "secret", "a\xffb")
		p.Add("secretsync_secret_refused", Seconds(time.Time{}), "watch", "selector")
	})
	want := `process_start_time_seconds 1.7000000005e+09
secretsync_secret_refused{secret="tls",reason="key \"a\\b\" is\nempty"} 1
secretsync_secret_refused{secret="a` + "\uFFFD" + `b"} 0
secretsync_secret_refused{watch="selector"} 0
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPublishes: a bucket counts the durations of the lower buckets, too. Reasons are in a fixed order.
func TestPublishes(t *testing.T) {
	var p Publishes
	for _, took := range []time.Duration{250 * time.Microsecond, 3 * time.Millisecond, 8 * time.Second} {
		p.Succeeded(took)
	}
	for _, reason := range []string{"space", "io", "space"} {
		p.Failed(reason)
	}
	p.last = time.Unix(1700000000, 500_000_000)
	got := scrape(t, p.Write)
	want := `secretsync_publishes_total 3
secretsync_publish_failures_total{reason="io"} 1
secretsync_publish_failures_total{reason="space"} 2
secretsync_last_publish_timestamp_seconds 1.7000000005e+09
secretsync_publish_duration_seconds_bucket{le="0.00025"} 1
secretsync_publish_duration_seconds_bucket{le="0.0005"} 1
secretsync_publish_duration_seconds_bucket{le="0.001"} 1
secretsync_publish_duration_seconds_bucket{le="0.0025"} 1
secretsync_publish_duration_seconds_bucket{le="0.005"} 2
secretsync_publish_duration_seconds_bucket{le="0.01"} 2
secretsync_publish_duration_seconds_bucket{le="0.025"} 2
secretsync_publish_duration_seconds_bucket{le="0.05"} 2
secretsync_publish_duration_seconds_bucket{le="0.1"} 2
secretsync_publish_duration_seconds_bucket{le="0.25"} 2
secretsync_publish_duration_seconds_bucket{le="0.5"} 2
secretsync_publish_duration_seconds_bucket{le="1"} 2
secretsync_publish_duration_seconds_bucket{le="2.5"} 2
secretsync_publish_duration_seconds_bucket{le="5"} 2
secretsync_publish_duration_seconds_bucket{le="+Inf"} 3
secretsync_publish_duration_seconds_sum 8.00325
secretsync_publish_duration_seconds_count 3
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := scrape(t, p.Write); again != got {
		t.Error("the order of a second scrape differs")
	}
	if !slices.IsSorted(buckets[:]) {
		t.Errorf("buckets: got %v, want them sorted", buckets)
	}
}

func TestPublishes_concurrent(t *testing.T) {
	var p Publishes
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				p.Succeeded(time.Millisecond)
				p.Failed(strconv.Itoa(i))
				scrape(t, p.Write)
			}
		})
	}
	wg.Wait()
	got := scrape(t, p.Write)
	if !strings.Contains(got, "secretsync_publishes_total 400\n") || !strings.Contains(got, "_count 400\n") {
		t.Errorf("got\n%s\nwant 400 publishes", got)
	}
}
