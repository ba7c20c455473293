package rollout

import (
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/status"
)

func read(version string, data byte) reading {
	return reading{uid: "u", version: version, data: fingerprint{data}}
}

// evidence is what a sidecar knows: the data stayed equal from since until version, and the
// interval before it, of other data.
func evidence(since, version string, previous ...string) status.Secret {
	s := status.Secret{Present: true, UID: "u", ResourceVersion: version, DataSince: since, Generation: 1}
	if len(previous) == 2 {
		s.PreviousData = status.Interval{Since: previous[0], Until: previous[1]}
	}
	return s
}

func wantText(t *testing.T, name, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestHistory_missing: which versions of a sidecar have the data of version 100.
func TestHistory_missing(t *testing.T) {
	for _, c := range []struct {
		name   string
		secret status.Secret
		want   string
	}{
		{"the version", evidence("100", "100"), ""},
		{"older, with fewer digits", evidence("99", "99"), "has version 99"},
		{"newer, after a change of metadata", evidence("100", "1000"), ""},
		{"newer, after a gap", evidence("1000", "1000"), ""}, // see TestHistory_sharedProof
		{"no version", evidence("x", "x"), "has version x"},
		{"none", evidence("", ""), "has version "},
	} {
		var h history
		if err := h.read(read("100", 'a')); err != nil {
			t.Fatal(err)
		}
		wantText(t, c.name, h.missing(c.secret), c.want)
	}
}

// TestHistory_sharedProof: sidecars prove together that the data did not change.
func TestHistory_sharedProof(t *testing.T) {
	var h history
	_, _ = h.read(read("100", 'a')), h.read(read("120", 'a'))
	if _ = h.learn(evidence("120", "120")); h.unchanged() {
		t.Error("a sidecar with a gap proves that the data did not change")
	}
	if _ = h.learn(evidence("90", "110")); h.unchanged() || h.missing(evidence("90", "90")) != "" {
		t.Error("want a proof from version 90 until 110")
	}
	if _ = h.learn(evidence("111", "120")); h.unchanged() {
		t.Error("two proofs with a gap between them count as one")
	}
	if _ = h.learn(evidence("105", "120")); !h.unchanged() {
		t.Error("the proofs of two sidecars overlap, and do not count")
	}
}

// TestHistory_ends: changes after which the wait cannot succeed.
func TestHistory_ends(t *testing.T) {
	for _, c := range []struct {
		name  string
		next  reading
		learn status.Secret
		want  string
	}{
		{"nothing", read("100", 'a'), evidence("100", "100", "1", "99"), ""},
		{"metadata", read("101", 'a'), evidence("100", "101"), ""},
		{"data", read("101", 'b'), evidence("", ""), "its data changed after version 100"},
		{"data, and back", read("102", 'a'), evidence("102", "102", "101", "101"), "its data changed after version 100"},
		{"data until the version, seen by a sidecar", read("101", 'a'), evidence("101", "101", "90", "100"), "its data changed after version 100"},
		{"another object", reading{uid: "w", version: "101"}, evidence("", ""), "deleted and created again"},
		{"a backup", read("99", 'a'), evidence("", ""), "restored from a backup"},
		{"a backup, and a change to the same version", read("100", 'b'), evidence("", ""), "its data changed"},
	} {
		var h history
		err := h.read(read("100", 'a'))
		if err == nil {
			err = h.read(c.next)
		}
		if err == nil && h.exists(c.learn.ResourceVersion) {
			err = h.learn(c.learn)
		}
		wantText(t, c.name, errorText(err), c.want)
	}
}

// TestHistory_version: the wait is for an earlier version, from the caller's own patch.
func TestHistory_version(t *testing.T) {
	h := history{version: "90"}
	if err := h.read(read("100", 'a')); err != nil || h.unchanged() {
		t.Fatalf("%v: unchanged since version 90 without a proof", err)
	}
	if err := h.learn(evidence("90", "100")); err != nil || !h.unchanged() {
		t.Errorf("%v: the proof of a sidecar does not count", err)
	}
	wantText(t, "changed since", errorText((&history{version: "90", last: read("100", 'a')}).learn(evidence("95", "100", "80", "94"))), "changed after version 90")
	wantText(t, "a version of the future", errorText((&history{version: "101"}).read(read("100", 'a'))), "does not exist")
}

// TestHistory_changedFrom: the wait begins once the data differs from a version.
func TestHistory_changedFrom(t *testing.T) {
	for _, c := range []struct {
		name   string
		reads  []reading
		learn  status.Secret
		target string // "" if the wait has not begun
	}{
		{"not changed", []reading{read("100", 'a')}, evidence("100", "100"), ""},
		{"metadata changed", []reading{read("100", 'a'), read("101", 'a')}, evidence("100", "101"), ""},
		{"data changed while the wait read", []reading{read("100", 'a'), read("101", 'b')}, evidence("", ""), "101"},
		{"data changed before, as a sidecar has seen", []reading{read("101", 'b')}, evidence("101", "101", "99", "100"), "101"},
		{"data changed before, and nobody knows", []reading{read("101", 'b')}, evidence("101", "101"), ""},
		{"data changed twice, and nobody knows", []reading{read("102", 'b')}, evidence("102", "102", "101", "101"), ""},
		{"a sidecar is behind", []reading{read("102", 'b')}, evidence("101", "101", "99", "100"), ""},
		{"data changed from unknown data", []reading{read("101", 'b'), read("102", 'c')}, evidence("", ""), ""},
	} {
		h := history{changedFrom: "100"}
		for _, r := range c.reads {
			if err := h.read(r); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err := h.learn(c.learn); err != nil || h.version != c.target {
			t.Errorf("%s: got version %q, %v, want %q", c.name, h.version, err, c.target)
		}
		if (h.missing(c.learn) == "") != (c.target != "" && h.missing(c.learn) == "") {
			t.Errorf("%s: a Pod is done before the wait has begun", c.name)
		}
	}
	wantText(t, "a version of the future", errorText((&history{changedFrom: "101"}).read(read("100", 'a'))), "does not exist")
}
