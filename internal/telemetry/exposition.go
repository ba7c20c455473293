package telemetry

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// contentType is the text format of Prometheus,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

func (d *definition) writeHead(out *bytes.Buffer, kind string) {
	fmt.Fprintf(out, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", d.name, d.help, kind)
}

// A Metric is a gauge or a counter with all its series.
type Metric struct {
	definition
	series map[string]float64 // by the labels as text
}

// A Series is a value with a value for each label.
type Series struct {
	Value  float64
	Labels []string
}

func (m *Metric) define(d definition) {
	m.definition, m.series = d, map[string]float64{}
	if len(d.labels) == 0 {
		m.series[""] = 0 // a metric without labels exists from the start
	}
}

// Set sets the value of a series. The labels are in the order of the definition.
func (m *Metric) Set(value float64, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[m.key(labels)] = value
}

// Add adds n to the value of a series.
func (m *Metric) Add(n float64, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[m.key(labels)] += n
}

// Replace sets all series and removes the others.
func (m *Metric) Replace(all []Series) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.series)
	for _, s := range all {
		m.series[m.key(s.Labels)] = s.Value
	}
}

// escaped replaces the characters not allowed in quotes.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (m *Metric) key(values []string) string {
	var pairs []string
	for i, value := range values {
		pairs = append(pairs, m.labels[i]+`="`+escaped.Replace(strings.ToValidUTF8(value, "\uFFFD"))+`"`)
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func (m *Metric) write(out *bytes.Buffer) {
	kind := "gauge"
	if strings.HasSuffix(m.name, "_total") {
		kind = "counter"
	}
	m.writeHead(out, kind)
	for _, key := range slices.Sorted(maps.Keys(m.series)) {
		fmt.Fprintf(out, "%s%s %v\n", m.name, key, m.series[key])
	}
}

// buckets are the upper bounds of the histogram in seconds. A publish takes well below a
// millisecond in a memory volume, and hundreds of milliseconds on a slow disk.
var buckets = [...]float64{
	.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5,
}

// A Histogram is a metric of durations.
type Histogram struct {
	definition
	counts [len(buckets)]uint64 // of each bucket, including the lower buckets
	count  uint64
	sum    float64 // seconds
}

func (h *Histogram) define(d definition) { h.definition = d }

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	h.sum += d.Seconds()
	for i, bound := range buckets {
		if d.Seconds() <= bound {
			h.counts[i]++
		}
	}
}

func (h *Histogram) write(out *bytes.Buffer) {
	h.writeHead(out, "histogram")
	for i, bound := range buckets {
		fmt.Fprintf(out, "%s_bucket{le=\"%v\"} %d\n", h.name, bound, h.counts[i])
	}
	fmt.Fprintf(out, "%s_bucket{le=\"+Inf\"} %d\n%[1]s_sum %[3]v\n%[1]s_count %[2]d\n", h.name, h.count, h.sum)
}

// Bool returns 1 for true and 0 for false.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Seconds returns t as Unix time, and 0 for the zero time.
func Seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
