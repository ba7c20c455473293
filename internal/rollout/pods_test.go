package rollout

import (
	"encoding/json"
	"slices"
	"testing"
)

// parsePod returns the Pod of a wait for the Secret db. spec and status are JSON fields.
func parsePod(t *testing.T, spec, status string) *pod {
	t.Helper()
	var o podObject
	text := `{"metadata":{"name":"app","uid":"1","annotations":{"secret-sync/secrets":"web"}},"spec":{` + spec +
		`},"status":{` + status + `}}`
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o.reduce("shop", "db")
}

// TestReduce_started: a Pod has not started only if the kubelet reports every container, and
// none of them as started.
func TestReduce_started(t *testing.T) {
	const (
		spec = `"nodeName":"n","initContainers":[{"name":"migrate"},{"name":"secret-sync",` +
			`"restartPolicy":"Always"}],"containers":[{"name":"app"}]`
		waiting  = `{"name":"migrate","state":{"waiting":{}}},{"name":"secret-sync","state":{"waiting":{}}}`
		app      = `"phase":"Pending","containerStatuses":[{"name":"app","state":{"waiting":{}}}]`
		sideRuns = `{"name":"migrate","state":{"waiting":{}}},{"name":"secret-sync","state":{"running":{}}}`
	)
	for _, c := range []struct {
		name, status            string
		unstarted, appUnstarted bool
	}{
		{"nothing has started", app + `,"initContainerStatuses":[` + waiting + `]`, true, true},
		{"nothing is reported", `"phase":"Pending"`, false, false},
		{"nothing is reported of a running Pod", `"phase":"Running"`, false, false},
		{"the app is not reported", `"initContainerStatuses":[` + waiting + `]`, false, false},
		{"the init containers are not reported", app, false, false},
		{"the sidecar runs", app + `,"initContainerStatuses":[` + sideRuns + `]`, false, true},
		{"an init container has ended", app + `,"initContainerStatuses":[` +
			`{"name":"migrate","state":{"terminated":{}}},{"name":"secret-sync",` +
			`"state":{"waiting":{}}}]`, false, false},
		{"the app runs, the sidecar does not", `"initContainerStatuses":[` + waiting +
			`],"containerStatuses":[{"name":"app","state":{"running":{}}}]`, false, false},
		{"the app was restarted", `"initContainerStatuses":[` + waiting +
			`],"containerStatuses":[{"name":"app","restartCount":1,"state":{"waiting":{}}}]`, false, false},
		{"the app crashed", `"initContainerStatuses":[` + waiting +
			`],"containerStatuses":[{"name":"app","state":{"waiting":{}},` +
			`"lastState":{"terminated":{}}}]`, false, false},
		{"the app was created", `"initContainerStatuses":[` + waiting +
			`],"containerStatuses":[{"name":"app","containerID":"x","state":{"waiting":{}}}]`, false, false},
	} {
		p := parsePod(t, spec, c.status)
		if p.unstarted != c.unstarted || p.appUnstarted != c.appUnstarted {
			t.Errorf("%s: got unstarted %v, app %v; want %v, %v", c.name, p.unstarted, p.appUnstarted, c.unstarted,
				c.appUnstarted)
		}
	}
}

// TestReduce_bound: a Pod counts from its binding until it has succeeded or failed.
func TestReduce_bound(t *testing.T) {
	for _, c := range []struct {
		spec, phase string
		want        bool
	}{
		{``, "Pending", false}, {`"nodeName":"n"`, "Pending", true}, {`"nodeName":"n"`, "Running",
			true}, {`"nodeName":"n"`, "", true},
		{`"nodeName":"n"`, "Unknown", true}, {`"nodeName":"n"`, "Succeeded", false}, {`"nodeName":"n"`, "Failed",
			false},
	} {
		if p := parsePod(t, c.spec, `"phase":"`+c.phase+`"`); p.bound != c.want {
			t.Errorf("%s %s: got %v, want %v", c.spec, c.phase, p.bound, c.want)
		}
	}
}

// TestReduce_sidecars: the containers that are asked, and their ports.
func TestReduce_sidecars(t *testing.T) {
	const env = `"env":[{"name":"SECRETSYNC_SECRETS","value":"db"}]`
	for _, c := range []struct {
		name, spec string
		want       []probe
	}{
		{"native", `"initContainers":[{"name":"secret-sync","restartPolicy":"Always"}]`,
			[]probe{{container: "secret-sync", port: 29808}}},
		{"of the image", `"containers":[{"name":"app"},{"name":"creds",` +
			`"image":"host:5000/x/secret-sync:v1@sha256:00",` + env + `}]`,
			[]probe{{container: "creds", port: 29808}}},
		{"of a digest", `"containers":[{"name":"creds","image":"x/secret-sync@sha256:00",` + env + `}]`,
			[]probe{{container: "creds", port: 29808}}},
		{"of the port", `"containers":[{"name":"app","ports":[{"name":"http","containerPort":80}]},` +
			`{"name":"s","ports":[{"name":"secret-sync","containerPort":81}]}]`, []probe{{container: "s", port: 81}}},
		{"two", `"initContainers":[{"name":"secret-sync","restartPolicy":"Always"},{"name":"b","image":"secret-sync",` +
			`"restartPolicy":"Always","ports":[{"name":"secret-sync","containerPort":81}]}]`,
			[]probe{{container: "secret-sync", port: 29808}, {container: "b", port: 81}}},
		{"an init container that ends", `"initContainers":[{"name":"secret-sync"}],"containers":[{"name":"app"}]`, nil},
		{"a command", `"containers":[{"name":"w","image":"secret-sync:1","args":["wait"]},{"name":"x",` +
			`"image":"secret-sync:1","command":["/secret-sync","wait"]}]`, nil},
		{"none", `"containers":[{"name":"app","image":"app"}]`, nil},
	} {
		var got []probe
		for _, p := range parsePod(t, c.spec, ``).probes {
			got = append(got, probe{container: p.container, port: p.port})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
