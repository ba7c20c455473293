package rollout

import (
	"strings"
	"testing"
	"time"
)

// TestUses names each way in which a Pod uses the Secret without a sidecar. A Pod that was created after the change
// has read the new data, except from a volume: it may follow the Secret, and the app may not.
func TestUses(t *testing.T) {
	const oneShot = `{"name":"secret-sync","env":[{"name":"SECRETSYNC_SECRETS","value":"db"}]}`
	for _, c := range []struct{ name, spec, want string }{
		{"a variable", `"containers":[{"name":"job","env":[{"name":"DB_PASSWORD",` +
			`"valueFrom":{"secretKeyRef":{"name":"db"}}}]}]`,
			"container job reads it into DB_PASSWORD at start"},
		{"all variables", `"initContainers":[{"name":"m","envFrom":[{"prefix":"DB_","secretRef":{"name":"db"}}]}]`,
			"init container m reads it into variables DB_* at start"},
		{"a debug container", `"ephemeralContainers":[{"name":"debug","envFrom":[{"secretRef":{"name":"db"}}]}]`,
			"container debug reads it into variables * at start"},
		{"a volume", `"volumes":[{"name":"v","secret":{"secretName":"db"}}]`, "unknown: volume v contains it"},
		{"a projected volume", `"volumes":[{"name":"v","projected":{"sources":[{"configMap":{}},` +
			`{"secret":{"name":"db"}}]}}]`,
			"unknown: volume v contains it"},
		{"a CSI volume", `"volumes":[{"name":"v","csi":{"nodePublishSecretRef":{"name":"db"}}}]`,
			"the CSI driver of volume v reads it"},
		{"a one-shot container", `"initContainers":[` + oneShot + `]`,
			"init container secret-sync writes it to files at start"},
		{"a one-shot container before a sidecar", `"initContainers":[` + oneShot +
			`,{"name":"s","image":"secret-sync","restartPolicy":"Always"}]`, ""},
		{"a one-shot container of another Secret", `"initContainers":[{"name":"secret-sync",` +
			`"env":[{"name":"SECRETSYNC_SECRETS","value":"tls"}]}]`, ""},
		{"a one-shot container and a sidecar of another Secret",
			`"initContainers":[` + oneShot + `,{"name":"s","image":"secret-sync",` +
				`"restartPolicy":"Always","env":[{"name":"SECRETSYNC_SECRETS","value":"tls"}]}]`, "writes it to files"},
		{"other Secrets", `"containers":[{"name":"a","env":[{"name":"A","value":"db"},{"name":"B",` +
			`"valueFrom":{"secretKeyRef":{"name":"web"}}}],` +
			`"envFrom":[{"secretRef":{"name":"web"}}]}],"volumes":[{"name":"v","secret":{"secretName":"web"}},` +
			`{"name":"w","csi":{}},{"name":"x","projected":{"sources":[{"secret":{"name":"web"}}]}}]`, ""},
	} {
		var got []string
		for _, u := range parsePod(t, c.spec, ``).uses {
			got = append(got, u.problem(time.Unix(0, 0), time.Time{}))
			late := u.problem(time.Unix(1, 0).Add(time.Hour), time.Unix(1, 0))
			if stays := strings.HasPrefix(u.text, "unknown"); (late != "") != stays {
				t.Errorf("%s, created after the change: got %q, want a problem: %v", c.name, late, stays)
			}
		}
		if text := strings.Join(got, "; "); c.want == "" && text != "" || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, text, c.want)
		}
	}
}

// TestUse_problem: a Pod that was created after the last change has read the new data, if
// the clocks allow to tell. A volume never tells.
func TestUse_problem(t *testing.T) {
	changed := time.Unix(1000, 0)
	for _, c := range []struct {
		atStart bool
		created time.Time
		changed time.Time
		done    bool
	}{
		{true, changed.Add(clockSkew + time.Second), changed, true},
		{true, changed.Add(clockSkew), changed, false},
		{true, changed.Add(-time.Hour), changed, false},
		{true, changed.Add(time.Hour), time.Time{}, false},
		{false, changed.Add(time.Hour), changed, false},
	} {
		u := use{text: "reads it", atStart: c.atStart}
		if got := u.problem(c.created, c.changed); (got == "") != c.done {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// TestMayWatch: the spec proves that a sidecar does not watch the Secret only if it contains
// the whole configuration. An annotation may have changed since the process read it.
func TestMayWatch(t *testing.T) {
	field := func(name, path string) string {
		return `{"name":"` + name + `","valueFrom":{"fieldRef":{"fieldPath":"` + path + `"}}}`
	}
	for _, c := range []struct {
		name, env string
		want      bool
	}{
		{"named", `"env":[{"name":"SECRETSYNC_SECRETS","value":"tls, db"}]`, true},
		{"optional", `"env":[{"name":"SECRETSYNC_SECRETS","value":"tls"},{"name":"SECRETSYNC_OPTIONAL_SECRETS",` +
			`"value":"db"}]`, true},
		{"in an annotation", `"env":[{"name":"SECRETSYNC_OPTIONAL_SECRETS","value":"tls"},` +
			field("SECRETSYNC_SECRETS", "metadata.annotations['secret-sync/secrets']") + `]`, true},
		{"others", `"env":[{"name":"SECRETSYNC_SECRETS","value":"tls"}]`, false},
		{"a selector", `"env":[{"name":"SECRETSYNC_SECRETS","value":"tls"},{"name":"SECRETSYNC_SELECTOR",` +
			`"value":"a=b"}]`, true},
		{"a selector in an annotation", `"env":[{"name":"SECRETSYNC_SECRETS","value":"tls"},` +
			field("SECRETSYNC_SELECTOR", "metadata.annotations['secret-sync/selector']") + `]`, true},
		{"from a ConfigMap", `"env":[{"name":"SECRETSYNC_SECRETS","value":"tls"},` +
			`{"name":"SECRETSYNC_OPTIONAL_SECRETS","valueFrom":{"configMapKeyRef":{}}}]`, true},
		{"from variables", `"env":[{"name":"SECRETSYNC_SECRETS","value":"$(NAME)"}]`, true},
		{"from all of a ConfigMap", `"env":[{"name":"SECRETSYNC_SECRETS","value":"tls"}],` +
			`"envFrom":[{"configMapRef":{}}]`, true},
		{"of the image", `"env":[]`, true},
	} {
		p := parsePod(t, `"containers":[{"name":"secret-sync",`+c.env+`}]`, ``)
		if got := len(p.probes) > 0; got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
