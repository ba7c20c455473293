// Package telemetry reports the state of the program: health, status and metrics over
// HTTP, and Events on the Pod. It sees names of Secrets, never values.
package telemetry

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Page is a response of /metrics, in the text format of Prometheus,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
type Page struct {
	text   bytes.Buffer
	metric string // name of the last metric
}

// Metric begins a metric. Its kind is gauge, counter or histogram.
func (p *Page) Metric(kind, name, help string) *Page {
	p.metric = name
	fmt.Fprintf(&p.text, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", name, help, kind)
	return p
}

// escaped replaces the characters not allowed in quotes.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Series adds a series to the last metric. The labels are pairs of a name and a value. Each value of a label creates a
// series, so values are names and a few fixed words, never the text of an error.
func (p *Page) Series(value float64, labels ...string) {
	var pairs []string
	for pair := range slices.Chunk(labels, 2) {
		pairs = append(pairs, pair[0]+`="`+escaped.Replace(strings.ToValidUTF8(pair[1], "\uFFFD"))+`"`)
	}
	key := p.metric
	if pairs != nil {
		key += "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintf(&p.text, "%s %v\n", key, value)
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
func (p *Publishes) Write(page *Page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.counts[len(buckets)-1]
	page.Metric("counter", "secretsync_publishes_total", "Published generations.").Series(count)
	page.Metric("counter", "secretsync_publish_failures_total", "Failed publishes.")
	for _, reason := range slices.Sorted(maps.Keys(p.failed)) {
		page.Series(p.failed[reason], "reason", reason)
	}
	page.Metric("gauge", "secretsync_last_publish_timestamp_seconds", "Time of the last publish, or 0.")
	page.Series(Seconds(p.last))
	const name = "secretsync_publish_duration_seconds"
	page.Metric("histogram", name, "Duration of a publish.")
	for i, bound := range buckets {
		fmt.Fprintf(&page.text, "%s_bucket{le=\"%v\"} %v\n", name, bound, p.counts[i])
	}
	fmt.Fprintf(&page.text, "%s_sum %v\n%[1]s_count %[3]v\n", name, p.seconds, count)
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
