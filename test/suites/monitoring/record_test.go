//go:build programs

package monitoring

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A recording is faster than the rules: half a second of the sidecar counts as half a minute,
// the interval of the PodMonitor. Retries and backoffs keep their proportions, and no test
// takes a quarter of an hour.
const (
	realInterval = 500 * time.Millisecond
	interval     = 30 * time.Second
	perMinute    = int(time.Minute / interval)
)

// A recording contains the samples of a sidecar, as Prometheus would store them. Each series
// has a sample per interval; "_" stands for a missing series.
type recording struct {
	ticks  int
	series map[string][]string
	at     []float64 // the time of each scrape, in seconds of the real clock
}

// fetch returns a response of the sidecar.
func fetch(addr, path string) (string, error) {
	r, err := http.Get("http://" + addr + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, r.Status, text)
	}
	return string(text), err
}

// record records a sidecar, first healthy for the time before, then in a state for during.
func record(t *testing.T, st state, before, during time.Duration) *recording {
	s := newSidecar(t)
	r := &recording{series: map[string][]string{}}
	first := int(before / interval)
	clock := time.NewTicker(realInterval)
	defer clock.Stop()
	for tick := range first + int(during/interval) {
		switch {
		case tick == first:
			st.begin(s)
		case tick > first && tick%perMinute == 0 && st.again != nil:
			st.again(s)
		}
		s.touch()
		<-clock.C
		r.scrape(t, s)
	}
	if _, err := fetch(s.addr, "/livez"); err != nil {
		t.Errorf("the sidecar does not answer at the end: %v", err)
	}
	return r
}

// scrape adds a sample to each series.
func (r *recording) scrape(t *testing.T, s *sidecar) {
	t.Helper()
	text, err := fetch(s.addr, "/metrics")
	r.at = append(r.at, float64(time.Now().UnixMicro())/1e6)
	up := "1"
	if err != nil { // as during a restart of the container
		text, up = "", "0"
	}
	r.add("up{"+target+"}", up)
	// kube-state-metrics reports this series from the status of the Pod.
	r.add(fmt.Sprintf(`kube_pod_init_container_status_restarts_total{%s,uid="1"}`, target), fmt.Sprint(s.restarts))
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			r.add(labelled(name), r.virtual(name, value))
		}
	}
	r.ticks++
	for name, samples := range r.series {
		if len(samples) < r.ticks {
			r.series[name] = append(samples, "_")
		}
	}
}

// target contains the labels added to every series by Prometheus.
const target = `container="secret-sync",namespace="shop",pod="app-1"`

func labelled(series string) string {
	name, labels, ok := strings.Cut(series, "{")
	if ok {
		return name + "{" + target + "," + labels
	}
	return name + "{" + target + "}"
}

func (r *recording) add(series, value string) {
	samples := r.series[series]
	for len(samples) < r.ticks {
		samples = append(samples, "_")
	}
	r.series[series] = append(samples, value)
}

// virtual returns a sample as the rules see it: times of the real clock become times of the
// recording, which starts at 0.
func (r *recording) virtual(series, value string) string {
	at, err := strconv.ParseFloat(value, 64)
	if err != nil || at == 0 || !strings.Contains(series, "_timestamp_seconds") {
		return value
	}
	last := len(r.at) - 1
	i, _ := slices.BinarySearch(r.at, at)
	switch {
	case i > last: // the scrape ended before the time was read
		return fmt.Sprint(float64(last) * interval.Seconds())
	case i == 0: // before the recording
		return fmt.Sprint((at - r.at[0]) / realInterval.Seconds() * interval.Seconds())
	}
	part := (at - r.at[i-1]) / (r.at[i] - r.at[i-1])
	return fmt.Sprint((float64(i-1) + part) * interval.Seconds())
}

// without returns the recording without a metric.
func (r *recording) without(t *testing.T, metric string) *recording {
	t.Helper()
	rest := maps.Clone(r.series)
	maps.DeleteFunc(rest, func(series string, _ []string) bool { return strings.HasPrefix(series, metric+"{") })
	if len(rest) == len(r.series) {
		t.Errorf("the recording contains no %s", metric)
	}
	return &recording{r.ticks, rest, r.at}
}

// inputSeries returns the recording in the form of promtool.
func (r *recording) inputSeries() (all []map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(r.series)) {
		all = append(all, map[string]string{"series": name, "values": strings.Join(r.series[name], " ")})
	}
	return all
}
