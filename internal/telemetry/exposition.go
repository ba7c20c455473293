package telemetry

import (
	"bytes"
	"maps"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// contentType is the text format of Prometheus,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// expose gives all metrics, each family and its series in a fixed order.
func expose(s state, src Sources) []byte {
	var e exposition
	e.family("secretsync_build_info", "gauge", "Always 1; the labels say what is running.")
	e.sample("secretsync_build_info", 1, "version", src.Version, "goversion", runtime.Version())
	e.publishes(s)
	e.secrets(s)
	e.notifications(pull(src.Notifications))
	e.watches(pull(src.Watches))
	return e.Bytes()
}

func pull[T any](source func() []T) []T {
	if source == nil {
		return nil
	}
	return source()
}

// exposition is a text under construction.
type exposition struct{ bytes.Buffer }

func (e *exposition) publishes(s state) {
	e.one("secretsync_generation", "gauge", "Number of the generation in the volume, 0 for none.", float64(s.generation))
	e.one("secretsync_publishes_total", "counter", "Generations published by this process.", float64(s.publishes))
	e.family("secretsync_publish_failures_total", "counter", "Generations that could not be published, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(s.failures)) {
		e.sample("secretsync_publish_failures_total", float64(s.failures[reason]), "reason", reason)
	}
	e.one("secretsync_last_publish_timestamp_seconds", "gauge",
		"When this process published last, 0 if it has not yet.", seconds(s.lastPublish))
	e.durations(s)
	e.one("secretsync_repairs_total", "counter", "Repairs of files that someone else changed.", float64(s.repairs))
}

func (e *exposition) durations(s state) {
	const name = "secretsync_publish_duration_seconds"
	e.family(name, "histogram", "Time from the files to the swap, on disk.")
	var count uint64
	for i, bound := range buckets {
		count += s.durations[i]
		e.sample(name+"_bucket", float64(count), "le", number(bound))
	}
	count += s.durations[len(buckets)]
	e.sample(name+"_bucket", float64(count), "le", "+Inf")
	e.sample(name+"_sum", s.durationSum)
	e.sample(name+"_count", float64(count))
}

func (e *exposition) secrets(s state) {
	e.family("secretsync_secret_present", "gauge", "Whether the watched Secret exists.")
	for _, name := range slices.Sorted(maps.Keys(s.present)) {
		e.sample("secretsync_secret_present", boolean(s.present[name]), "secret", name)
	}
	e.family("secretsync_secret_refused", "gauge", "1 for a Secret whose newest state is not published.")
	for _, name := range slices.Sorted(maps.Keys(s.refused)) {
		e.sample("secretsync_secret_refused", 1, "secret", name, "reason", s.refused[name])
	}
}

func (e *exposition) notifications(all []Notification) {
	sort.Slice(all, func(i, j int) bool { return all[i].Target < all[j].Target })
	e.family("secretsync_notifications_total", "counter", "Attempts to tell the app, by target and result.")
	for _, n := range all {
		e.sample("secretsync_notifications_total", float64(n.Succeeded), "target", n.Target, "result", "success")
		e.sample("secretsync_notifications_total", float64(n.Failed), "target", n.Target, "result", "failure")
	}
	e.family("secretsync_notify_pending", "gauge", "Whether the target has not been told of the newest generation.")
	for _, n := range all {
		e.sample("secretsync_notify_pending", boolean(n.Pending), "target", n.Target)
	}
}

func (e *exposition) watches(all []Watch) {
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	e.family("secretsync_watch_up", "gauge", "Whether the watch is connected.")
	for _, w := range all {
		e.sample("secretsync_watch_up", boolean(w.Up), "watch", w.Name)
	}
	e.family("secretsync_last_contact_timestamp_seconds", "gauge", "When the watch last heard of the API server, 0 for never.")
	for _, w := range all {
		e.sample("secretsync_last_contact_timestamp_seconds", seconds(w.LastContact), "watch", w.Name)
	}
}

// family begins a metric: all its samples follow at once.
func (e *exposition) family(name, kind, help string) {
	e.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// one is a family of one sample without labels.
func (e *exposition) one(name, kind, help string, value float64) {
	e.family(name, kind, help)
	e.sample(name, value)
}

// labelValue escapes what the format cannot have in quotes.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes one line; labels are names and values in turn.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		if i == 0 {
			e.WriteString("{")
		} else {
			e.WriteString(",")
		}
		e.WriteString(labels[i] + `="` + labelValue.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	if len(labels) > 0 {
		e.WriteString("}")
	}
	e.WriteString(" " + number(value) + "\n")
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds gives a Unix time, 0 for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
