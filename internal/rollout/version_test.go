package rollout

import (
	"errors"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/status"
)

func TestMissingIn(t *testing.T) {
	v := Version{Secret: "db", UID: "u", ResourceVersion: "100"}
	good := status.Secret{Present: true, UID: "u", ResourceVersion: "100", Generation: 3}
	with := func(change func(*status.Secret)) status.Secret { s := good; change(&s); return s }
	target := func(name string, notified uint64) status.Target { return status.Target{Name: name, Notified: notified} }
	for _, c := range []struct {
		name    string
		secret  status.Secret
		targets []status.Target
		want    string // part of the reason; "" for done
	}{
		{"files only", good, nil, ""},
		{"newer, with more digits", with(func(s *status.Secret) { s.ResourceVersion = "1000" }), nil, ""},
		{"older, with fewer digits", with(func(s *status.Secret) { s.ResourceVersion = "99" }), nil, "is at version 99"},
		{"no number", with(func(s *status.Secret) { s.ResourceVersion = "x" }), nil, "is at version x"},
		{"another object", with(func(s *status.Secret) { s.UID = "w" }), nil, "uid w"},
		{"gone", with(func(s *status.Secret) { s.Present = false }), nil, "no such Secret"},
		{"refused", with(func(s *status.Secret) { s.Refused = "empty_key" }), nil, "refuses the Secret: empty_key"},
		{"not in the volume", with(func(s *status.Secret) { s.Generation = 0 }), nil, "not in the volume"},
		{"notified", good, []status.Target{target("process", 3), target("webhook/2", 5)}, ""},
		{"one is not notified", good, []status.Target{target("process", 3), target("webhook/2", 2)}, "webhook/2 is not notified"},
		{"a record of a volume that was emptied", good, []status.Target{target("process", 9)}, "process is not notified"},
	} {
		d := &status.Document{Generation: 5, Secrets: map[string]status.Secret{"db": c.secret}, Targets: c.targets}
		got := v.missingIn(d)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if got := v.missingIn(&status.Document{}); !strings.Contains(got, "does not have Secret") {
		t.Errorf("a sidecar of other Secrets: got %q", got)
	}
}

func TestChangedTo(t *testing.T) {
	v := Version{Secret: "db", UID: "u", ResourceVersion: "100"}
	for now, want := range map[Version]string{
		{UID: "u", ResourceVersion: "100"}: "",
		{UID: "u", ResourceVersion: "101"}: "",
		{UID: "w", ResourceVersion: "101"}: "deleted and created again",
		{UID: "u", ResourceVersion: "99"}:  "restored from a backup",
	} {
		err := v.changedTo(now)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrNotDone) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: got %v, want %q", now, err, want)
		}
	}
}
