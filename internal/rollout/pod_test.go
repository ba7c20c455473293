package rollout

import (
	"encoding/json"
	"testing"
)

func TestRole(t *testing.T) {
	const (
		native  = `"initContainers":[{"name":"secret-sync","restartPolicy":"Always"}]`
		oneShot = `"initContainers":[{"name":"secret-sync"}],"containers":[{"name":"app"}]`
		renamed = `"containers":[{"name":"app"},{"name":"creds","image":"host:5000/x/secret-sync:v1@sha256:00"}]`
		ported  = `"containers":[{"name":"app","ports":[{"name":"http","containerPort":80}]},{"name":"s","ports":[{"name":"secret-sync","containerPort":81}]}]`
		none    = `"containers":[{"name":"app","image":"app"}]`
		run     = `,"state":{"running":{}}`
	)
	for _, c := range []struct {
		name, spec, phase, statuses string
		role                        role
		port                        int
	}{
		{"runs", native, "Running", `"initContainerStatuses":[{"name":"secret-sync"` + run + `}]`, sidecar, 29808},
		{"runs before the app starts", native, "Pending", `"initContainerStatuses":[{"name":"secret-sync"` + run + `}]`, sidecar, 29808},
		{"not started", native, "Pending", `"initContainerStatuses":[{"name":"secret-sync","state":{"waiting":{}}}]`, absent, 29808},
		{"no status yet", native, "Pending", `"phase":""`, absent, 29808},
		{"crashed, the app runs on", native, "Running", `"initContainerStatuses":[{"name":"secret-sync","restartCount":1,"state":{"waiting":{}}}]`, sidecar, 29808},
		{"crashed, not restarted yet", native, "Running", `"initContainerStatuses":[{"name":"secret-sync","state":{"waiting":{}},"lastState":{"terminated":{}}}]`, sidecar, 29808},
		{"ended before the app", renamed, "Running", `"containerStatuses":[{"name":"creds","state":{"terminated":{}}}]`, sidecar, 29808},
		{"of the image", renamed, "Running", `"containerStatuses":[{"name":"creds"` + run + `}]`, sidecar, 29808},
		{"of the port", ported, "Running", `"containerStatuses":[{"name":"s"` + run + `}]`, sidecar, 81},
		{"succeeded", native, "Succeeded", `"initContainerStatuses":[{"name":"secret-sync","state":{"terminated":{}}}]`, absent, 29808},
		{"failed", none, "Failed", ``, absent, 29808},
		{"an init container that ends", oneShot, "Running", ``, noSidecar, 29808},
		{"without it", none, "Running", ``, noSidecar, 29808},
		{"without it, not started", none, "Pending", ``, absent, 29808},
	} {
		status := `"phase":"` + c.phase + `"`
		if c.statuses != "" && c.statuses != `"phase":""` {
			status += "," + c.statuses
		}
		var p pod
		if err := json.Unmarshal([]byte(`{"spec":{`+c.spec+`},"status":{`+status+`}}`), &p); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := p.role(); got != c.role {
			t.Errorf("%s: got role %d, want %d", c.name, got, c.role)
		}
		if got := p.statusPort(); got != c.port {
			t.Errorf("%s: got port %d, want %d", c.name, got, c.port)
		}
	}
}
