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
	"github.com/secret-sync/secret-sync/writer"
)

// snapshot reads "db: password=a user=u; tls: crt=c; ?secret/x": Secrets with
// their keys, and with a question mark a watch without an answer.
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

// set reads what is in the volume, and show writes it.
func set(text string) writer.Content {
	s := writer.Content{Secrets: map[string]writer.Files{}}
	for name, content := range parse(text) {
		s.Secrets[name] = writer.Files{Values: content}
	}
	return s
}

func show(s writer.Content) string {
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

func showRefused(all []layout.Rejection) string {
	var parts []string
	for _, r := range all {
		parts = append(parts, r.Secret+" "+r.Reason)
	}
	return strings.Join(parts, ", ")
}

type options = layout.Rules

var cases = []struct {
	name     string
	options  options
	snapshot string
	volume   string // what is in it; "-" for nothing yet
	removed  []string

	want     string
	refused  string
	waiting  string // a part of the reasons; "" for none
	complete bool
	current  bool // Confirmed
}{
	{
		name: "all keys of a named Secret", options: options{Required: []string{"db"}},
		snapshot: "db: password=a user=u", volume: "-",
		want: "db: password=a user=u", complete: true, current: true,
	},
	{
		name: "items pick and rename", options: options{Required: []string{"db"}, Items: layout.Items{"db": {"password": {Path: "conf/pw"}}}},
		snapshot: "db: password=a user=u", volume: "-",
		want: "db: conf/pw=a", complete: true, current: true,
	},
	{
		name: "a first generation waits for an answer", options: options{Required: []string{"db"}, Optional: []string{"tls"}},
		snapshot: "db: p=a; ?secret/tls", volume: "-",
		want: "db: p=a", waiting: "no answer yet for secret/tls",
	},
	{
		name: "a first generation waits for a required Secret", options: options{Required: []string{"db", "tls"}},
		snapshot: "db: p=a", volume: "-",
		want: "db: p=a", waiting: `Secret "tls" does not exist`,
	},
	{
		name: "an optional Secret can be absent", options: options{Required: []string{"db"}, Optional: []string{"tls"}},
		snapshot: "db: p=a", volume: "-",
		want: "db: p=a", complete: true, current: true,
	},
	{
		name: "only optional ones, all absent, is a complete empty generation", options: options{Optional: []string{"tls"}},
		snapshot: "", volume: "-",
		want: "", complete: true, current: true,
	},
	{
		name: "a selector alone that matches nothing publishes nothing", options: options{Selector: true},
		snapshot: "", volume: "-",
		want: "", waiting: "no Secret matches the selector",
	},
	{
		name: "a selector that matches nothing is not complete", options: options{Required: []string{"db"}, Selector: true},
		snapshot: "db: p=a", volume: "-",
		want: "db: p=a",
	},
	{
		name: "a selector that matches something is", options: options{Required: []string{"db"}, Selector: true},
		snapshot: "db: p=a; x: k=v", volume: "-",
		want: "db: p=a; x: k=v", complete: true, current: true,
	},
	{
		name: "a required key that is missing: the last good files stay, the others go on", options: options{Required: []string{"db", "tls"}, RequiredKeys: map[string][]string{"db": {"password"}}},
		snapshot: "db: user=new; tls: crt=new", volume: "db: password=old user=old; tls: crt=old",
		want: "db: password=old user=old; tls: crt=new", refused: "db missing_key", complete: true,
	},
	{
		name: "a required key that is empty", options: options{Required: []string{"db"}, RequiredKeys: map[string][]string{"db": {"password"}}},
		snapshot: "db: password=", volume: "db: password=old",
		want: "db: password=old", refused: "db empty_key", complete: true,
	},
	{
		name: "a key that is empty and not required is a file", options: options{Required: []string{"db"}},
		snapshot: "db: password=", volume: "-",
		want: "db: password=", complete: true, current: true,
	},
	{
		name: "a required Secret that is refused keeps a first generation back", options: options{Required: []string{"db", "tls"}, RequiredKeys: map[string][]string{"db": {"password"}}},
		snapshot: "db: user=u; tls: crt=c", volume: "-",
		want: "tls: crt=c", refused: "db missing_key", waiting: `Secret "db" is rejected`,
	},
	{
		name: "an optional Secret that is refused does not", options: options{Required: []string{"tls"}, Optional: []string{"db"}, RequiredKeys: map[string][]string{"db": {"password"}}},
		snapshot: "db: user=u; tls: crt=c", volume: "-",
		want: "tls: crt=c", refused: "db missing_key", complete: true, current: true,
	},
	{
		name: "a named item that is missing", options: options{Required: []string{"db"}, Items: layout.Items{"db": {"password": {Path: "pw"}}}},
		snapshot: "db: user=u", volume: "db: pw=old",
		want: "db: pw=old", refused: "db missing_item", complete: true,
	},
	{
		name: "no keys at all", options: options{Required: []string{"db"}},
		snapshot: "db:", volume: "db: pw=old",
		want: "db: pw=old", refused: "db no_keys", complete: true,
	},
	{
		name: "a key that is no name of a file", options: options{Required: []string{"db"}},
		snapshot: "db: ..data=x", volume: "db: pw=old",
		want: "db: pw=old", refused: "db bad_name", complete: true,
	},
	{
		name: "a key with a slash, from a server that does not check", options: options{Required: []string{"db"}},
		snapshot: "db: ../../etc/passwd=x", volume: "-",
		want: "", refused: "db bad_name", waiting: "is rejected",
	},
	{
		name: "a deleted Secret keeps its files", options: options{Required: []string{"db", "tls"}},
		snapshot: "tls: crt=c", volume: "db: p=a; tls: crt=c",
		want: "db: p=a; tls: crt=c", complete: true,
	},
	{
		name: "or loses them when they are to be removed", options: options{Required: []string{"db", "tls"}},
		snapshot: "tls: crt=c", volume: "db: p=a; tls: crt=c", removed: []string{"db"},
		want: "tls: crt=c",
	},
	{
		name: "a Secret that is not known to be gone is not removed", options: options{Required: []string{"db", "tls"}},
		snapshot: "tls: crt=c; ?secret/db", volume: "db: p=a; tls: crt=c", removed: []string{"db"},
		want: "db: p=a; tls: crt=c",
	},
	{
		name: "a Secret that left the selector keeps its files", options: options{Selector: true},
		snapshot: "a: k=1", volume: "a: k=1; b: k=2",
		want: "a: k=1; b: k=2", complete: true, current: true,
	},
	{
		name: "what the configuration does not ask for any more goes", options: options{Required: []string{"a"}},
		snapshot: "a: k=1", volume: "a: k=1; b: k=2",
		want: "a: k=1", complete: true, current: true,
	},
	{
		name: "an outage after a restart takes nothing", options: options{Required: []string{"db"}, Selector: true},
		snapshot: "?secret/db; ?selector", volume: "db: p=a; x: k=v",
		want: "db: p=a; x: k=v",
	},
	{
		name: "flat: two Secrets, no common path", options: options{Layout: writer.Flat, Required: []string{"a", "b"}},
		snapshot: "a: x=1; b: y=2", volume: "-",
		want: "a: x=1; b: y=2", complete: true, current: true,
	},
	{
		name: "flat: a common path in a first generation publishes nothing", options: options{Layout: writer.Flat, Required: []string{"a"}, Optional: []string{"b"}},
		snapshot: "a: x=1; b: x=2", volume: "-",
		want: "a: x=1", refused: "b path_conflict", waiting: `Secret "a" already uses the path "x"`, complete: true, current: true,
	},
	{
		name: "flat: who has the path keeps it, also against an earlier name", options: options{Layout: writer.Flat, Selector: true},
		snapshot: "a: x=1; b: x=2", volume: "b: x=2",
		want: "b: x=2", refused: "a path_conflict", complete: true, current: true,
	},
	{
		name: "flat: a Secret that grows into another's path is back at its last good files", options: options{Layout: writer.Flat, Required: []string{"a", "b"}},
		snapshot: "a: x=new y=3; b: y=2", volume: "a: x=1; b: y=2",
		want: "a: x=1; b: y=2", refused: "a path_conflict", complete: true,
	},
	{
		name: "flat: a path that its owner gives up is free", options: options{Layout: writer.Flat, Required: []string{"a", "b"}},
		snapshot: "a: x=1 y=1; b: z=2", volume: "a: x=1; b: y=2",
		want: "a: x=1 y=1; b: z=2", complete: true, current: true,
	},
	{
		name: "flat: unless its owner is refused", options: options{Layout: writer.Flat, Required: []string{"a", "b"}, RequiredKeys: map[string][]string{"b": {"y"}}},
		snapshot: "a: x=1 y=1; b: z=2", volume: "a: x=1; b: y=2",
		want: "a: x=1; b: y=2", refused: "a path_conflict, b missing_key", complete: true,
	},
	{
		name: "flat: a file where another has a directory", options: options{Layout: writer.Flat, Required: []string{"a", "b"}, Items: layout.Items{"a": {"k": {Path: "conf"}}, "b": {"k": {Path: "conf/db"}}}},
		snapshot: "a: k=1; b: k=2", volume: "-",
		want: "a: conf=1", refused: "b path_conflict", waiting: "conf", complete: false,
	},
	{
		name: "flat: the volume was nested, with one path in two Secrets", options: options{Layout: writer.Flat, Required: []string{"a", "b"}},
		snapshot: "a: x=1; b: x=2", volume: "a: x=1; b: x=2",
		want: "a: x=1", refused: "b path_conflict",
	},
	{
		name: "nested: one key in two Secrets is no conflict", options: options{Required: []string{"a", "b"}},
		snapshot: "a: x=1; b: x=2", volume: "-",
		want: "a: x=1; b: x=2", complete: true, current: true,
	},
}

func TestMake(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := layout.Input{Snapshot: snapshot(c.snapshot), Published: c.volume != "-", Removed: map[string]bool{}}
			if in.Published {
				in.Previous = set(c.volume)
			}
			for _, name := range c.removed {
				in.Removed[name] = true
			}
			plan := layout.Make(c.options, in)
			check(t, "files", show(plan.Set), c.want)
			check(t, "refused", showRefused(plan.Rejected), c.refused)
			check(t, "complete", plan.Set.Complete, c.complete)
			check(t, "confirmed", plan.Confirmed, c.current)
			waiting := strings.Join(plan.Waiting, "; ")
			if (waiting == "") != (c.waiting == "") || !strings.Contains(waiting, c.waiting) {
				t.Errorf("waiting: got %q, want %q in it", waiting, c.waiting)
			}
		})
	}
}

func TestModes(t *testing.T) {
	o := layout.Rules{
		Required: []string{"db", "tls"},
		Items:    layout.Items{"db": {"password": {Path: "pw", Mode: 0o600}, "user": {Path: "user"}}},
	}
	set := layout.Make(o, layout.Input{Snapshot: snapshot("db: password=a user=u; tls: crt=c")}).Set
	if got := set.Secrets["db"].Modes; len(got) != 1 || got["pw"] != 0o600 || set.Secrets["tls"].Modes != nil {
		t.Errorf("got %v and %v", got, set.Secrets["tls"].Modes)
	}
}

func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Whatever Secrets come, no two files of a flat set are in each other's way,
// and a Secret of the volume that is wanted has files.
func FuzzFlatSetHasNoConflict(f *testing.F) {
	f.Add("a: x=1 y=2; b: x=2", "b: x=1", "a=k=dir/x")
	f.Add("a: k=1; b: k=2; c: x=3", "a: dir=1; c: dir/k=2", "b=k=dir")
	f.Fuzz(func(t *testing.T, now, before, items string) {
		o := layout.Rules{Layout: writer.Flat, Selector: true, Items: layout.Items{}}
		if name, item, ok := strings.Cut(items, "="); ok {
			if key, path, ok := strings.Cut(item, "="); ok && path != "" && !strings.Contains(path, ".") && !strings.Contains("/"+path+"/", "//") {
				o.Items[name] = map[string]layout.Item{key: {Path: path}}
			}
		}
		first := layout.Make(o, layout.Input{Snapshot: snapshot(before)})
		plan := layout.Make(o, layout.Input{Snapshot: snapshot(now), Previous: first.Set, Published: true})
		owner := map[string]string{}
		for name, files := range plan.Set.Secrets {
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
		for name := range first.Set.Secrets {
			if _, ok := plan.Set.Secrets[name]; !ok {
				t.Fatalf("the files of %q are gone", name)
			}
		}
	})
}
