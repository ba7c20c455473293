// Package telemetry reports the state of the program: health, status and metrics over
// HTTP, and Events on the Pod. It sees names of Secrets, never values.
package telemetry

import (
	_ "embed"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// metrics describes every metric in a line: its kind, its name and its help.
//
//go:embed metrics.txt
var metrics string

// A Page is a response of /metrics, in the text format of Prometheus,
// https://prometheus.io/docs/instrumenting/exposition_formats/. It contains the lines of each metric.
type Page map[string][]byte

// escaped replaces the characters not allowed in quotes.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Add adds a series to a metric of metrics.txt. The labels are pairs of a name and a value. Each value of a label
// creates a series, so values are names and a few fixed words, never the text of an error.
func (p Page) Add(metric string, value float64, labels ...string) {
	var pairs []string
	for pair := range slices.Chunk(labels, 2) {
		pairs = append(pairs, pair[0]+`="`+escaped.Replace(strings.ToValidUTF8(pair[1], "\uFFFD"))+`"`)
	}
	key := metric
	if pairs != nil {
		key += "{" + strings.Join(pairs, ",") + "}"
	}
	p[metric] = fmt.Appendf(p[metric], "%s %v\n", key, value)
}

// String returns the text of the page. A metric without a series has a description, too.
func (p Page) String() string {
	var text strings.Builder
	for line := range strings.Lines(metrics) {
		kind, line, _ := strings.Cut(line, " ")
		name, help, _ := strings.Cut(line, " ")
		fmt.Fprintf(&text, "# HELP %s %s# TYPE %[1]s %[3]s\n", name, help, kind)
		text.Write(slices.Concat(p[name], p[name+"_bucket"], p[name+"_sum"], p[name+"_count"]))
	}
	return text.String()
}

// buckets are the upper bounds of the histogram in seconds, for memory volumes and slow disks.
var buckets = [...]float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, math.Inf(1)}

// Publishes counts the publishes of this process. Its methods are safe for concurrent use. The zero value is ready.
type Publishes struct {
	mu      sync.Mutex
	last    time.Time             // zero if none succeeded
	seconds float64               // duration of all that succeeded
	counts  [len(buckets)]float64 // of durations up to the bound of the bucket; the last bucket counts all
	failed  map[string]float64    // by reason
}

// Succeeded counts a publish and its duration.
func (p *Publishes) Succeeded(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	p.seconds += took.Seconds()
	for i, bound := range buckets {
		if took.Seconds() <= bound {
			p.counts[i]++
		}
	}
}

// Failed counts a failed publish.
func (p *Publishes) Failed(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = map[string]float64{}
	}
	p.failed[reason]++
}

// Write adds the metrics of the publishes to a page.
func (p *Publishes) Write(page Page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.counts[len(buckets)-1]
	page.Add("secretsync_publishes_total", count)
	for _, reason := range slices.Sorted(maps.Keys(p.failed)) {
		page.Add("secretsync_publish_failures_total", p.failed[reason], "reason", reason)
	}
	page.Add("secretsync_last_publish_timestamp_seconds", Seconds(p.last))
	for i, bound := range buckets {
		page.Add("secretsync_publish_duration_seconds_bucket", p.counts[i], "le", fmt.Sprint(bound))
	}
	page.Add("secretsync_publish_duration_seconds_sum", p.seconds)
	page.Add("secretsync_publish_duration_seconds_count", count)
}

// Bool returns 1 for true and 0 for false.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Seconds returns t as Unix time, and 0 for the zero time.
func Seconds(t time.Time) float64 { return max(0, float64(t.UnixMicro())/1e6) }
