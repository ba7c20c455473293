//go:build programs

package troubleshooting

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A pod is a scene with a sidecar that serves metrics and writes Events for its Pod.
type pod struct {
	*st.Scene
	t    *testing.T
	addr string
	wire *st.Wire
	run  *st.Run
	from int // the position in the log where the quotes begin
}

const podName = "app-1"

// newPod returns a pod with the Secret db. Any user can run its sidecar.
func newPod(t *testing.T, env st.Env) *pod {
	t.Helper()
	p := &pod{t: t, addr: st.OwnAddr()}
	all := st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_HTTP_ADDR": p.addr, "SECRETSYNC_LOG_LEVEL": "info",
		"SECRETSYNC_EVENTS": "true", "POD_NAME": podName, "POD_UID": "0",
	}
	for name, value := range env {
		all[name] = value
	}
	p.Scene = st.New(t, all)
	p.SetSecret("db", map[string]string{"username": "app", "password": "1"})
	p.wire = p.Wire()
	return p
}

// ready starts the sidecar and waits until its files are published.
func (p *pod) ready() {
	p.t.Helper()
	p.run = p.Start(nil)
	p.run.WaitReady()
	testsupport.Eventually(p.t, "the HTTP server", func() error { _, err := p.metrics(); return err })
}

// rotate sets a new password. Earlier lines of the log are not quoted.
func (p *pod) rotate() {
	if p.run != nil {
		p.quoteFromHere()
	}
	p.SetSecret("db", map[string]string{"username": "app", "password": "2"})
}

func (p *pod) quoteFromHere() { p.from = len(p.run.Log.String()) }

func (p *pod) metrics() ([]string, error) {
	r, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return strings.Split(strings.TrimSpace(string(text)), "\n"), err
}

// series returns the lines of some metrics in /metrics.
func (p *pod) series(names []string) (all []string) {
	p.t.Helper()
	if len(names) == 0 {
		return nil
	}
	lines, err := p.metrics()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		if slices.Contains(names, name) {
			all = append(all, line)
		}
	}
	return all
}

// waitMetric waits until a series has a value.
func (p *pod) waitMetric(line string) {
	p.t.Helper()
	testsupport.Eventually(p.t, line, func() error {
		lines, err := p.metrics()
		if err == nil && !slices.Contains(lines, line) {
			err = fmt.Errorf("not in\n%s", strings.Join(lines, "\n"))
		}
		return err
	})
}

// log returns the quoted lines of the log: all warnings and errors, lines that are not JSON
// (written before the logger is configured), and the last line at level info with one of the
// keys. On a slow machine other lines precede it.
func (p *pod) log(keys []string) (all []string) {
	info := ""
	for line := range strings.Lines(p.run.Log.String()[p.from:]) {
		line = strings.TrimSpace(line)
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil || fields["level"] != "INFO" {
			all = append(all, line)
		}
		for _, key := range keys {
			if _, has := fields[key]; has && fields["level"] == "INFO" {
				info = line
			}
		}
	}
	if info != "" {
		all = append(all, info)
	}
	return all
}

// waitLog waits until the log contains a line to quote.
func (p *pod) waitLog(keys ...string) {
	p.t.Helper()
	testsupport.Eventually(p.t, "a line in the log", func() error {
		if len(p.log(keys)) == 0 {
			return fmt.Errorf("no such line in\n%s", p.run.Log)
		}
		return nil
	})
}

// events returns the warnings about the Pod, sorted by reason: two Events may have the same time.
func (p *pod) events() (all []string) {
	p.t.Helper()
	about := metav1.ListOptions{FieldSelector: "involvedObject.name=" + podName}
	list, err := st.ControlPlane().Client.CoreV1().Events(p.Namespace).List(p.t.Context(), about)
	if err != nil {
		p.t.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return cmp.Compare(a.Reason, b.Reason) })
	for _, e := range list.Items {
		if e.Type == corev1.EventTypeWarning {
			all = append(all, fmt.Sprintf("%s  %s  %s", e.Type, e.Reason, e.Message))
		}
	}
	return all
}

// masks replace the parts that vary between runs by "…".
var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`"(time|version|duration|retry_in)":"[^"]*"`), `"$1":"…"`},
	{regexp.MustCompile(`"memory_limit":\d+`), `"memory_limit":…`}, // of the machine if the container has no limit
	{regexp.MustCompile(`127\.\d+\.\d+\.\d+:\d+`), "127.0.0.1:…"},
	{regexp.MustCompile(`\.\.20\d\d_[0-9_.]+`), "..20…"},
	{regexp.MustCompile(`\b\d+ \(([a-z-]+)\)`), "… ($1)"}, // a process
	{regexp.MustCompile(`ended \d+\.\d s after`), "ended … s after"},
	{regexp.MustCompile(`\b\d+ KiB and \d+ inodes`), "… KiB and … inodes"},
	{regexp.MustCompile(`(_timestamp_seconds(?:\{.*\})?|_total\{.*\}) [1-9]\S*$`), "$1 …"},
}

// masked returns a line as the page quotes it.
func (p *pod) masked(line string) string {
	line = strings.NewReplacer(p.Dir, "/secrets", p.Namespace, "shop").Replace(line)
	for _, m := range masks {
		line = m.what.ReplaceAllString(line, m.with)
	}
	return line
}
