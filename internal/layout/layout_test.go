package layout_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// The cases are written in a small language.
//
//	Secrets, files:  NAME: KEY=VALUE KEY=VALUE; NAME: ...
//	in a snapshot:   ?WATCH is a watch that is not synced
//	in a volume:     - is a volume without a generation
//	rules:           required=A,B optional=C selector flat items=A/KEY>PATH env=A>PATH keys=A/KEY
//
// For example, the rules "required=db items=db/password>pw" select the Secret db and write
// its key password to the file pw. The snapshot "db: password=a; ?secret/tls" contains this
// Secret, and no answer for the watch of the Secret tls.

// snapshot parses the Secrets of a snapshot.
func snapshot(text string) watcher.Snapshot {
	s := watcher.Snapshot{Secrets: map[string]watcher.Secret{}, Unsynced: map[string]bool{}}
	for name, data := range parse(text) {
		if watch, ok := strings.CutPrefix(name, "?"); ok {
			s.Unsynced[watch] = true
			continue
		}
		s.Secrets[name] = watcher.Secret{UID: "uid-" + name, ResourceVersion: "1", Data: data}
	}
	return s
}

// rules parses rules.
func rules(text string) layout.Rules {
	r := layout.Rules{Items: layout.Items{}, RequiredKeys: map[string][]string{}}
	for word := range strings.FieldsSeq(text) {
		option, list, _ := strings.Cut(word, "=")
		entries := strings.Split(list, ",")
		secret, rest, _ := strings.Cut(list, "/")
		switch option {
		case "required":
			r.Required = entries
		case "optional":
			r.Optional = entries
		case "selector":
			r.Selector = true
		case "flat":
			r.Layout = generation.Flat
		case "keys":
			r.RequiredKeys[secret] = append(r.RequiredKeys[secret], rest)
		case "items", "env":
			if _, err := r.Items.Add(strings.Replace(list, ">", "=", 1), option == "env"); err != nil {
				panic(err)
			}
		default:
			panic("unknown option " + option)
		}
	}
	return r
}

// parse parses Secrets with their keys, or with their files.
func parse(text string) map[string]map[string]secret.Value {
	out := map[string]map[string]secret.Value{}
	for part := range strings.SplitSeq(text, ";") {
		name, data, _ := strings.Cut(strings.TrimSpace(part), ":")
		if name == "" {
			continue
		}
		out[name] = map[string]secret.Value{}
		for pair := range strings.FieldsSeq(data) {
			key, value, _ := strings.Cut(pair, "=")
			out[name][key] = secret.Value(value)
		}
	}
	return out
}

// volume parses the files in a volume, and show is the inverse.
func volume(text string) map[string]generation.Files {
	files := map[string]generation.Files{}
	for name, content := range parse(text) {
		files[name] = generation.Files{Values: content}
	}
	return files
}

func show(s generation.Content) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		part := name + ":"
		content := s.Secrets[name].Values
		for _, file := range slices.Sorted(maps.Keys(content)) {
			part += fmt.Sprintf(" %s=%s", file, []byte(content[file]))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func showRejected(all []layout.Rejection) string {
	var parts []string
	for _, r := range all {
		parts = append(parts, r.Secret+" "+r.Reason)
	}
	return strings.Join(parts, ", ")
}

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

func TestMake_modes(t *testing.T) {
	o := rules("required=db,tls items=db/password>pw:0600 items=db/user>user")
	content := layout.Make(o, layout.Input{Snapshot: snapshot("db: password=a user=u; tls: crt=c")}).Content
	if got := content.Secrets["db"].Modes; len(got) != 1 || got["pw"] != 0o600 || content.Secrets["tls"].Modes != nil {
		t.Errorf("got %v and %v", got, content.Secrets["tls"].Modes)
	}
}

func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// FuzzMake_flatHasNoConflict: no two files of a flat generation conflict, and a selected Secret
// in the volume keeps files.
func FuzzMake_flatHasNoConflict(f *testing.F) {
	f.Add("a: x=1 y=2; b: x=2", "b: x=1", "a=k=dir/x")
	f.Add("a: k=1; b: k=2; c: x=3", "a: dir=1; c: dir/k=2", "b=k=dir")
	f.Fuzz(func(t *testing.T, now, before, items string) {
		o := layout.Rules{Layout: generation.Flat, Selector: true, Items: layout.Items{}}
		if name, item, ok := strings.Cut(items, "="); ok {
			key, path, ok := strings.Cut(item, "=")
			if ok && path != "" && !strings.Contains(path, ".") && !strings.Contains("/"+path+"/", "//") {
				o.Items[name] = []layout.Item{{Path: path, Keys: []string{key}}}
			}
		}
		first := layout.Make(o, layout.Input{Snapshot: snapshot(before)})
		in := layout.Input{Snapshot: snapshot(now), Previous: first.Content.Secrets, Published: true}
		result := layout.Make(o, in)
		owner := map[string]string{}
		for name, files := range result.Content.Secrets {
			for file := range files.Values {
				if other, taken := owner[file]; taken {
					t.Fatalf("%q is of %q and of %q", file, name, other)
				}
				owner[file] = name
			}
		}
		for file, name := range owner {
			for i := range file {
				if file[i] == '/' && owner[file[:i]] != "" && owner[file[:i]] != name {
					t.Fatalf("%q of %q lies below the file %q of %q", file, name, file[:i], owner[file[:i]])
				}
			}
		}
		for name := range first.Content.Secrets {
			if _, ok := result.Content.Secrets[name]; !ok {
				t.Fatalf("the files of %q are gone", name)
			}
		}
	})
}

// TestMake_manyConflicts: each conflict costs the same, so half as many Secrets need about half of the work. The
// unit of work is an allocation. Make once examined all Secrets again after each conflict.
func TestMake_manyConflicts(t *testing.T) {
	work := func(secrets int) float64 {
		var text strings.Builder
		for i := range secrets {
			fmt.Fprintf(&text, "s%04d: own%d=1 shared%d=1; ", i, i, i/2)
		}
		in := layout.Input{Snapshot: snapshot(text.String())}
		if got := len(layout.Make(rules("flat selector"), in).Rejected); got != secrets/2 {
			t.Fatalf("got %d rejected Secrets, want %d", got, secrets/2)
		}
		return testing.AllocsPerRun(1, func() { layout.Make(rules("flat selector"), in) })
	}
	if few, many := work(500), work(1000); many > 3*few {
		t.Errorf("got %v allocations for 500 Secrets and %v for 1000, want about twice as many", few, many)
	}
}

// TestRejection_isShort: the message about a Secret with thousands of long keys names a few of
// them.
func TestRejection_isShort(t *testing.T) {
	s := snapshot("db: password=a")
	for i := range 4000 {
		s.Secrets["db"].Data[fmt.Sprintf("%0250d", i)] = secret.Value("x")
	}
	for _, rule := range []string{"keys=db/none", "items=db/none>file"} {
		rejected := layout.Make(rules("required=db "+rule), layout.Input{Snapshot: s}).Rejected
		if len(rejected) != 1 || len(rejected[0].Detail) > 4000 ||
			!strings.Contains(rejected[0].Detail, "and 3991 more") {
			t.Errorf("%s: got %d rejections, %.5000v, want a short message", rule, len(rejected), rejected)
		}
	}
}
