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
