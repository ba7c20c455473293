package layout_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/layout"
)

type layoutCase struct {
	name     string
	rules    string
	snapshot string
	volume   string // without the Secrets to remove

	want     string // the files
	rejected string // SECRET REASON, ...
	waiting  string // a part of the reasons to wait; "" for none
	complete bool
	current  bool // Result.Current
}

var cases = []layoutCase{
	{
		name:     "all keys of a named Secret",
		rules:    "required=db",
		snapshot: "db: password=a user=u", volume: "-",
		want: "db: password=a user=u", complete: true, current: true,
	},
	{
		name:     "items pick and rename",
		rules:    "required=db items=db/password>conf/pw",
		snapshot: "db: password=a user=u", volume: "-",
		want: "db: conf/pw=a", complete: true, current: true,
	},
	{
		name:     "a first generation waits for an answer",
		rules:    "required=db optional=tls",
		snapshot: "db: p=a; ?secret/tls", volume: "-",
		want: "db: p=a", waiting: "no answer yet for secret/tls",
	},
	{
		name:     "a first generation waits for a required Secret",
		rules:    "required=db,tls",
		snapshot: "db: p=a", volume: "-",
		want: "db: p=a", waiting: `Secret "tls" does not exist`,
	},
	{
		name:     "an optional Secret can be absent",
		rules:    "required=db optional=tls",
		snapshot: "db: p=a", volume: "-",
		want: "db: p=a", complete: true, current: true,
	},
	{
		name:     "only optional ones, all absent, is a complete empty generation",
		rules:    "optional=tls",
		snapshot: "", volume: "-",
		want: "", complete: true, current: true,
	},
	{
		name:     "a selector alone that matches nothing publishes nothing",
		rules:    "selector",
		snapshot: "", volume: "-",
		want: "", waiting: "no Secret matches the selector",
	},
	{
		name:     "a selector that matches nothing is not complete",
		rules:    "required=db selector",
		snapshot: "db: p=a", volume: "-",
		want: "db: p=a",
	},
	{
		name:     "a selector that matches something is",
		rules:    "required=db selector",
		snapshot: "db: p=a; x: k=v", volume: "-",
		want: "db: p=a; x: k=v", complete: true, current: true,
	},
	{
		name:     "a required key that is missing: the last good files stay, the others go on",
		rules:    "required=db,tls keys=db/password",
		snapshot: "db: user=new; tls: crt=new", volume: "db: password=old user=old; tls: crt=old",
		want: "db: password=old user=old; tls: crt=new", rejected: "db missing_key", complete: true,
	},
	{
		name:     "a required key that is empty",
		rules:    "required=db keys=db/password",
		snapshot: "db: password=", volume: "db: password=old",
		want: "db: password=old", rejected: "db empty_key", complete: true,
	},
	{
		name:     "a key that is empty and not required is a file",
		rules:    "required=db",
		snapshot: "db: password=", volume: "-",
		want: "db: password=", complete: true, current: true,
	},
	{
		name:     "a required Secret that is rejected keeps a first generation back",
		rules:    "required=db,tls keys=db/password",
		snapshot: "db: user=u; tls: crt=c", volume: "-",
		want: "tls: crt=c", rejected: "db missing_key", waiting: `Secret "db" is rejected`,
	},
	{
		name:     "an optional Secret that is rejected does not",
		rules:    "required=tls optional=db keys=db/password",
		snapshot: "db: user=u; tls: crt=c", volume: "-",
		want: "tls: crt=c", rejected: "db missing_key", complete: true, current: true,
	},
	{
		name:     "a named item that is missing",
		rules:    "required=db items=db/password>pw",
		snapshot: "db: user=u", volume: "db: pw=old",
		want: "db: pw=old", rejected: "db missing_item", complete: true,
	},
	{
		name:     "no keys at all",
		rules:    "required=db",
		snapshot: "db:", volume: "db: pw=old",
		want: "db: pw=old", rejected: "db no_keys", complete: true,
	},
	{
		name:     "a key that is no name of a file",
		rules:    "required=db",
		snapshot: "db: ..data=x", volume: "db: pw=old",
		want: "db: pw=old", rejected: "db bad_name", complete: true,
	},
	{
		name:     "a key with a slash, from a server that does not check",
		rules:    "required=db",
		snapshot: "db: ../../etc/passwd=x", volume: "-",
		want: "", rejected: "db bad_name", waiting: "is rejected",
	},
	{
		name:     "a deleted Secret keeps its files",
		rules:    "required=db,tls",
		snapshot: "tls: crt=c", volume: "db: p=a; tls: crt=c",
		want: "db: p=a; tls: crt=c", complete: true,
	},
	{
		name:     "or loses them when they are to be removed",
		rules:    "required=db,tls",
		snapshot: "tls: crt=c", volume: "tls: crt=c",
		want: "tls: crt=c",
	},
	{
		name:     "a Secret that is not known to be gone keeps its files",
		rules:    "required=db,tls",
		snapshot: "tls: crt=c; ?secret/db", volume: "db: p=a; tls: crt=c",
		want: "db: p=a; tls: crt=c",
	},
	{
		name:     "a Secret that left the selector keeps its files",
		rules:    "selector",
		snapshot: "a: k=1", volume: "a: k=1; b: k=2",
		want: "a: k=1; b: k=2", complete: true, current: true,
	},
	{
		name:     "what the configuration does not ask for any more goes",
		rules:    "required=a",
		snapshot: "a: k=1", volume: "a: k=1; b: k=2",
		want: "a: k=1", complete: true, current: true,
	},
	{
		name:     "an outage after a restart takes nothing",
		rules:    "required=db selector",
		snapshot: "?secret/db; ?selector", volume: "db: p=a; x: k=v",
		want: "db: p=a; x: k=v",
	},
	{
		name:     "flat: two Secrets, no common path",
		rules:    "flat required=a,b",
		snapshot: "a: x=1; b: y=2", volume: "-",
		want: "a: x=1; b: y=2", complete: true, current: true,
	},
	{
		name:     "flat: a common path in a first generation publishes nothing",
		rules:    "flat required=a optional=b",
		snapshot: "a: x=1; b: x=2", volume: "-",
		want: "a: x=1", rejected: "b path_conflict", waiting: `Secret "a" already uses the path "x"`,
		complete: true, current: true,
	},
	{
		name:     "flat: who has the path keeps it, also against an earlier name",
		rules:    "flat selector",
		snapshot: "a: x=1; b: x=2", volume: "b: x=2",
		want: "b: x=2", rejected: "a path_conflict", complete: true, current: true,
	},
	{
		name:     "flat: a Secret that grows into another's path is back at its last good files",
		rules:    "flat required=a,b",
		snapshot: "a: x=new y=3; b: y=2", volume: "a: x=1; b: y=2",
		want: "a: x=1; b: y=2", rejected: "a path_conflict", complete: true,
	},
	{
		name:     "flat: a path that its owner gives up is free",
		rules:    "flat required=a,b",
		snapshot: "a: x=1 y=1; b: z=2", volume: "a: x=1; b: y=2",
		want: "a: x=1 y=1; b: z=2", complete: true, current: true,
	},
	{
		name:     "flat: unless its owner is rejected",
		rules:    "flat required=a,b keys=b/y",
		snapshot: "a: x=1 y=1; b: z=2", volume: "a: x=1; b: y=2",
		want: "a: x=1; b: y=2", rejected: "a path_conflict, b missing_key", complete: true,
	},
	{
		name:     "flat: a file where another has a directory",
		rules:    "flat required=a,b items=a/k>conf items=b/k>conf/db",
		snapshot: "a: k=1; b: k=2", volume: "-",
		want: "a: conf=1", rejected: "b path_conflict",
		waiting: `Secret "a" already uses the path "conf"`,
	},
	{
		name:     "flat: the volume was nested, with one path in two Secrets",
		rules:    "flat required=a,b",
		snapshot: "a: x=1; b: x=2", volume: "a: x=1; b: x=2",
		want: "a: x=1", rejected: "b path_conflict",
	},
	{
		name:     "flat: a Secret that fell back keeps its path, also against a later name",
		rules:    "flat selector",
		snapshot: "a: x=2; b: x=1; c: k=3", volume: "a: k=1; b: x=1",
		want: "a: k=1; b: x=1", rejected: "a path_conflict, c path_conflict", complete: true, current: true,
	},
	{
		name:     "flat: a Secret does not lose a path to a Secret that is rejected",
		rules:    "flat selector",
		snapshot: "a: q=1; b: q=2; c: f=3 g=3; d: g=4", volume: "a: q=1; b: f=1",
		want: "a: q=1; b: f=1; d: g=4", rejected: "b path_conflict, c path_conflict", complete: true, current: true,
	},
	{
		name:     "nested: one key in two Secrets is no conflict",
		rules:    "required=a,b",
		snapshot: "a: x=1; b: x=2", volume: "-",
		want: "a: x=1; b: x=2", complete: true, current: true,
	},
}

func TestMake_cases(t *testing.T) {
	for _, c := range slices.Concat(cases, listedCases) {
		t.Run(c.name, func(t *testing.T) {
			in := layout.Input{Snapshot: snapshot(c.snapshot), Published: c.volume != "-"}
			if in.Published {
				in.Previous = volume(c.volume)
			}
			result := layout.Make(rules(c.rules), in)
			check(t, "files", show(result.Content), c.want)
			check(t, "rejected", showRejected(result.Rejected), c.rejected)
			check(t, "complete", result.Content.Complete, c.complete)
			check(t, "current", result.Current, c.current)
			waiting := strings.Join(result.Waiting, "; ")
			if (waiting == "") != (c.waiting == "") || !strings.Contains(waiting, c.waiting) {
				t.Errorf("waiting: got %q, want %q in it", waiting, c.waiting)
			}
		})
	}
}
