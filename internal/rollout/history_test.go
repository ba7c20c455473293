package rollout

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

func read(version string, data byte) reading {
	return reading{uid: "u", version: version, data: uint64(data)}
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
		{"no version", evidence("x", "x"), "does not have"},
		{"none", evidence("", ""), "does not have"},
	} {
		tally := newTally(Rules{Secret: "db"}, "100", "")
		tally.history.read(read("1000", 'a'))
		d := &status.Document{Complete: true, Secrets: map[string]status.Secret{"db": c.secret}}
		wantText(t, c.name, tally.filesMissing(d, true), c.want)
	}
}

// TestHistory_sharedProof: sidecars prove together that the data did not change.
func TestHistory_sharedProof(t *testing.T) {
	var h history
	h.read(read("100", 'a'))
	h.read(read("120", 'a'))
	for _, c := range []struct {
		name      string
		secret    status.Secret
		unchanged bool
	}{
		{"a gap", evidence("120", "120"), false},
		{"until version 110", evidence("90", "110"), false},
		{"before the version", evidence("90", "99"), false},
		{"a gap between two proofs", evidence("111", "120"), false},
		{"overlapping proofs", evidence("105", "120"), true},
		{"an older proof", evidence("90", "110"), true},
	} {
		if h.learn(c.secret); (h.problem() == "") != c.unchanged {
			t.Errorf("%s: got unchanged %v", c.name, !c.unchanged)
		}
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
		{"data, and back", read("102", 'a'), evidence("102", "102", "101", "101"),
			"its data changed after version 100"},
		{"data until the version, seen by a sidecar", read("101", 'a'), evidence("101", "101", "90", "100"),
			"its data changed after version 100"},
		{"another object", reading{uid: "w", version: "101"}, evidence("", ""), "deleted and created again"},
		{"a backup", read("99", 'a'), evidence("", ""), "restored from a backup"},
		{"a backup, and a change to the same version", read("100", 'b'), evidence("", ""), "its data changed"},
	} {
		var h history
		h.read(read("100", 'a'))
		h.read(c.next)
		if h.ended == nil {
			h.learn(c.learn)
		}
		wantText(t, c.name, errorText(h.ended), c.want)
		if c.want != "" && h.problem() == "" {
			t.Errorf("%s: unchanged, although the wait has ended", c.name)
		}
	}
}

// TestHistory_changed: a change of the metadata moves the times in managedFields. The earlier bound for
// the last change of the data remains.
func TestHistory_changed(t *testing.T) {
	var h history
	for i, data := range []byte("aab") {
		r := read(strconv.Itoa(100+i), data)
		r.changed = start.Add(time.Duration(i) * time.Hour)
		h.read(r)
		if want := map[byte]time.Time{'a': start, 'b': r.changed}[data]; h.last.changed != want {
			t.Errorf("version %s: got %v, want %v", r.version, h.last.changed, want)
		}
	}
}

// TestHistory_version: the wait is for an earlier version, from the caller's own patch.
func TestHistory_version(t *testing.T) {
	h := history{version: "90"}
	if h.read(read("100", 'a')); h.ended != nil || h.problem() == "" {
		t.Fatalf("%v: unchanged since version 90 without a proof", h.ended)
	}
	if h.learn(evidence("90", "100")); h.ended != nil || h.problem() != "" {
		t.Errorf("%v: the proof of a sidecar does not count", h.ended)
	}
	h = history{version: "90", last: read("100", 'a')}
	h.learn(evidence("95", "100", "80", "94"))
	wantText(t, "changed since", errorText(h.ended), "changed after version 90")
	h = history{version: "101"}
	h.read(read("100", 'a'))
	wantText(t, "a version of the future", errorText(h.ended), "does not exist")
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
		{"metadata and then data changed while the wait read",
			[]reading{read("100", 'a'), read("101", 'a'), read("102", 'b')}, evidence("", ""), "102"},
		{"data changed before, as a sidecar has seen", []reading{read("101", 'b')},
			evidence("101", "101", "99", "100"), "101"},
		{"data changed before, and nobody knows", []reading{read("101", 'b')}, evidence("101", "101"), ""},
		{"data changed before the version, as a sidecar has seen", []reading{read("101", 'b')},
			evidence("95", "101", "80", "90"), ""},
		{"data changed twice, and nobody knows", []reading{read("102", 'b')}, evidence("102", "102", "101", "101"), ""},
		{"a sidecar is behind", []reading{read("102", 'b')}, evidence("101", "101", "99", "100"), ""},
		{"data changed from unknown data", []reading{read("101", 'b'), read("102", 'c')}, evidence("", ""), ""},
	} {
		tally := newTally(Rules{Secret: "db"}, "", "100")
		h := &tally.history
		for _, r := range c.reads {
			h.read(r)
		}
		d := &status.Document{Complete: true, Secrets: map[string]status.Secret{"db": c.learn}}
		reason := tally.filesMissing(d, true)
		if h.ended != nil || h.version != c.target {
			t.Errorf("%s: got version %q, %v, want %q", c.name, h.version, h.ended, c.target)
		}
		if c.target == "" && (reason == "" || h.problem() == "") {
			t.Errorf("%s: a Pod is done before the wait has begun", c.name)
		}
	}
	h := history{changedFrom: "101"}
	h.read(read("100", 'a'))
	wantText(t, "a version of the future", errorText(h.ended), "does not exist")
}
