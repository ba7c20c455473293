package telemetry

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// contentType is the text format of Prometheus,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// exposer writes itself, with the metrics' lock held.
type exposer interface{ expose(*bytes.Buffer) }

// expose gives all metrics of one moment, in a fixed order.
func (m *Metrics) expose() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out bytes.Buffer
	for _, one := range m.all {
		one.expose(&out)
	}
	return out.Bytes()
}

func (m *Metrics) gauge(name, help string, labels ...string) *Family {
	return m.family("gauge", name, help, labels)
}

func (m *Metrics) counter(name, help string, labels ...string) *Family {
	return m.family("counter", name, help, labels)
}

func (m *Metrics) family(kind, name, help string, labels []string) *Family {
	f := &Family{mu: &m.mu, head: head(kind, name, help), name: "secretsync_" + name, labels: labels, series: map[string]float64{}}
	if len(labels) == 0 {
		f.series[""] = 0 // a metric without labels is there before anything has happened
	}
	m.all = append(m.all, f)
	return f
}

func head(kind, name, help string) string {
	return "# HELP secretsync_" + name + " " + help + "\n# TYPE secretsync_" + name + " " + kind + "\n"
}

// Family is one metric with all its series.
type Family struct {
	mu         *sync.Mutex
	head, name string
	labels     []string
	series     map[string]float64 // by the labels as text
}

// Series is one series: its value, and a value for each label.
type Series struct {
	Value  float64
	Labels []string
}

// Set sets one series; the labels' values are in the order of the definition.
func (f *Family) Set(value float64, labels ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.series[f.key(labels)] = value
}

// Add adds to one series.
func (f *Family) Add(n float64, labels ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.series[f.key(labels)] += n
}

// Replace sets all series. One that is not among them is gone.
func (f *Family) Replace(all []Series) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.series)
	for _, s := range all {
		f.series[f.key(s.Labels)] = s.Value
	}
}

// escaped is what the format cannot have in quotes.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (f *Family) key(values []string) string {
	var pairs []string
	for i, value := range values {
		pairs = append(pairs, f.labels[i]+`="`+escaped.Replace(strings.ToValidUTF8(value, "\uFFFD"))+`"`)
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func (f *Family) expose(out *bytes.Buffer) {
	out.WriteString(f.head)
	for _, key := range slices.Sorted(maps.Keys(f.series)) {
		out.WriteString(f.name + key + " " + number(f.series[key]) + "\n")
	}
}

// buckets are the upper bounds of the histogram, in seconds: a memory volume takes
// well below a millisecond, a slow disk with its fsyncs some hundreds.
var buckets = [...]float64{
	.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5,
}

// Histogram is a metric of durations.
type Histogram struct {
	mu         *sync.Mutex
	head, name string
	counts     [len(buckets) + 1]uint64 // not cumulative; the last one has no bound
	sum        float64                  // seconds
}

func (m *Metrics) histogram(name, help string) *Histogram {
	h := &Histogram{mu: &m.mu, head: head("histogram", name, help), name: "secretsync_" + name}
	m.all = append(m.all, h)
	return h
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, _ := slices.BinarySearch(buckets[:], d.Seconds())
	h.counts[i]++
	h.sum += d.Seconds()
}

func (h *Histogram) expose(out *bytes.Buffer) {
	out.WriteString(h.head)
	var count uint64
	for i, n := range h.counts {
		count += n
		bound := "+Inf"
		if i < len(buckets) {
			bound = number(buckets[i])
		}
		out.WriteString(h.name + `_bucket{le="` + bound + `"} ` + number(float64(count)) + "\n")
	}
	out.WriteString(h.name + "_sum " + number(h.sum) + "\n" + h.name + "_count " + number(float64(count)) + "\n")
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// Bool is 1 for true.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Seconds gives a Unix time, 0 for the zero time.
func Seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
