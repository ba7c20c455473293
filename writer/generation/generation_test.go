package generation

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/secret"
)

// files returns the Files of a Secret: version, then path, value, path, value, …
func files(version string, pairs ...string) Files {
	f := Files{UID: "uid", ResourceVersion: version, Values: map[string]secret.Value{}}
	for i := 0; i < len(pairs); i += 2 {
		f.Values[pairs[i]] = secret.Value(pairs[i+1])
	}
	return f
}

func content(secrets map[string]Files) Content { return Content{Complete: true, Secrets: secrets} }

func request(number uint64, c Content) Request {
	return Request{Content: c, Layout: Nested, FileMode: 0o644, Number: number}
}

// follow returns the generation that follows g, or g if nothing changed.
func follow(t *testing.T, g *Generation, req Request) *Generation {
	t.Helper()
	rec, changed := g.Next(req)
	if !changed {
		return g
	}
	if err := rec.Validate(); err != nil {
		t.Fatal(err)
	}
	return New(NewName(time.Unix(int64(req.Number), 0)), rec, req.Content)
}

// listing returns one line per entry.
func listing(entries []Entry) (lines []string) {
	for _, e := range entries {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%v %s %s%s", e.Mode, e.Path, e.Target, string(e.Data))))
	}
	return lines
}

// TestNew_entries compares all entries of a generation in both layouts.
func TestNew_entries(t *testing.T) {
	c := content(map[string]Files{"db": files("1", "password", "p", "conf/deep/a", "x"), "tls": files("1", "crt", "c")})
	modes := c.Secrets["db"]
	modes.Modes = map[string]fs.FileMode{"password": 0o600}
	c.Secrets["db"] = modes
	for layout, want := range map[Layout]string{
		Nested: `
drwxr-xr-x T
drwxr-xr-x T/db
drwxr-xr-x T/db/conf
drwxr-xr-x T/db/conf/deep
-rw-r--r-- T/db/conf/deep/a x
-rw------- T/db/password p
drwxr-xr-x T/tls
-rw-r--r-- T/tls/crt c
drwxr-xr-x db
L--------- db/..data ../..data/db
L--------- db/conf ..data/conf
L--------- db/password ..data/password
drwxr-xr-x tls
L--------- tls/..data ../..data/tls
L--------- tls/crt ..data/crt
`,
		Flat: `
drwxr-xr-x T
drwxr-xr-x T/conf
drwxr-xr-x T/conf/deep
-rw-r--r-- T/conf/deep/a x
-rw-r--r-- T/crt c
-rw------- T/password p
L--------- conf ..data/conf
L--------- crt ..data/crt
L--------- password ..data/password
`,
	} {
		req := request(1, c)
		req.Layout = layout
		rec, _ := (&Generation{}).Next(req)
		g := New("T", rec, c)
		got := "\n" + strings.Join(append(listing(g.Inside), listing(g.Outside)...), "\n") + "\n"
		if got != want {
			t.Errorf("%v: got%s\nwant%s", layout, got, want)
		}
		for _, e := range slices.Concat(g.Inside, g.Outside) {
			if found, ok := g.Find(e.Path); !ok || !reflect.DeepEqual(found, e) {
				t.Errorf("%v: Find(%q) = %v, %v", layout, e.Path, found, ok)
			}
		}
		if _, ok := g.Find("T/none"); ok {
			t.Error("found an entry that does not exist")
		}
		if parsed, err := ParseRecord(g.RecordFile.Data); err != nil || !reflect.DeepEqual(parsed.Paths(),
			rec.Paths()) ||
			parsed.Layout != layout {
			t.Errorf("%v: the record as read: %+v, %v", layout, parsed, err)
		}
	}
}

// TestNext_changed: exactly a difference of values, paths, modes, Secrets or layout
// requires a new generation.
func TestNext_changed(t *testing.T) {
	base := request(1, content(map[string]Files{"db": files("1", "a", "1", "b", "2"), "tls": files("1", "crt", "c")}))
	g := follow(t, &Generation{}, base)
	with := func(change func(r *Request)) Request {
		r := base
		r.Number = 2
		r.Content.Secrets = maps.Clone(base.Content.Secrets)
		change(&r)
		return r
	}
	set := func(name string, f Files) func(*Request) { return func(r *Request) { r.Content.Secrets[name] = f } }
	mode := files("1", "crt", "c")
	mode.Modes = map[string]fs.FileMode{"crt": 0o600}
	for name, tt := range map[string]struct {
		req  Request
		want bool
	}{
		"nothing":             {with(func(*Request) {}), false},
		"version":             {with(set("tls", files("9", "crt", "c"))), false},
		"incomplete":          {with(func(r *Request) { r.Content.Complete = false }), false},
		"value":               {with(set("tls", files("2", "crt", "C"))), true},
		"value, same version": {with(set("tls", files("1", "crt", "C"))), true},
		"path":                {with(set("tls", files("2", "key", "c"))), true},
		"another path":        {with(set("tls", files("2", "crt", "c", "key", "k"))), true},
		"one path less":       {with(set("db", files("2", "a", "1"))), true},
		"mode of a file":      {with(set("tls", mode)), true},
		"mode of all":         {with(func(r *Request) { r.FileMode = 0o600 }), true},
		"layout":              {with(func(r *Request) { r.Layout = Flat }), true},
		"another Secret":      {with(set("new", files("1"))), true},
		"a Secret less":       {with(func(r *Request) { delete(r.Content.Secrets, "tls") }), true},
		"trusted": {with(func(r *Request) { r.TrustVersions = true; set("tls", files("1", "crt", "C"))(r) }),
			false},
		"trusted, other version": {with(func(r *Request) {
			r.TrustVersions = true
			set("tls",
				files("2", "crt", "C"))(r)
		}),
			true},
		"trusted, other path": {with(func(r *Request) {
			r.TrustVersions = true
			set("tls",
				files("1", "key", "c"))(r)
		}),
			true},
		"trusted, other modes":    {with(func(r *Request) { r.TrustVersions = true; set("tls", mode)(r) }), true},
		"trusted, without values": {with(func(r *Request) { r.TrustVersions = true; set("tls", files("1"))(r) }), true},
	} {
		rec, changed := g.Next(tt.req)
		if changed != tt.want {
			t.Errorf("%s: got %v, want %v", name, changed, tt.want)
		}
		if want := map[bool]uint64{false: 1, true: 2}[tt.want]; rec.Generation != want || !rec.Complete {
			t.Errorf("%s: got generation %d, complete %v, want %d", name, rec.Generation, rec.Complete, want)
		}
	}
	if _, changed := (&Generation{}).Next(request(1, Content{})); !changed {
		t.Error("a first generation without Secrets is not one")
	}
}

// TestNext_history: every path keeps the generation of its last change, across
// changes of layout and mode, and removals are remembered.
func TestNext_history(t *testing.T) {
	g := follow(t, &Generation{}, request(1,
		content(map[string]Files{"db": files("1", "a", "1", "b", "1"), "tls": files("1", "crt", "c")})))
	g = follow(t, g, request(2, content(map[string]Files{"db": files("2", "a", "2", "b", "1"),
		"tls": files("1", "crt", "c")})))
	g = follow(t, g, request(3, content(map[string]Files{"db": files("3", "a", "2", "c", "1")})))
	for since, want := range map[uint64]notification.Changes{
		0: changes(3, []string{"db"}, []string{"db/a", "db/c"}, []string{}, []string{}),
		1: changes(3, []string{"db", "tls"}, []string{"db/c"}, []string{"db/a"}, []string{"db/b", "tls/crt"}),
		2: changes(3, []string{"db", "tls"}, []string{"db/c"}, []string{}, []string{"db/b", "tls/crt"}),
		3: changes(3, []string{}, []string{}, []string{}, []string{}),
		4: changes(3, []string{"db"}, []string{}, []string{"db/a", "db/c"}, []string{}),
	} {
		if got := g.Record.ChangesSince(since); !reflect.DeepEqual(got, want) {
			t.Errorf("since %d: got %+v, want %+v", since, got, want)
		}
	}
	want := `{"generation":3,"secrets":[],"added":[],"changed":[],"removed":[]}`
	if got, err := json.Marshal(g.Record.ChangesSince(3)); err != nil || string(got) != want {
		t.Errorf("JSON without changes: got %s, %v, want %s", got, err, want)
	}
	if got := g.Record.Secrets["db"].Generation; got != 3 {
		t.Errorf("db since %d, want 3", got)
	}
	if got := g.Record.Secrets["tls"].Generation; got != 0 {
		t.Errorf("a removed Secret since %d, want 0", got)
	}
}

func changes(number uint64, secrets, added, changed, removed []string) notification.Changes {
	return notification.Changes{Generation: number, Secrets: secrets, Added: added, Changed: changed, Removed: removed}
}

// TestNext_dropsOldRemovals: a record with too many removals restarts its history.
func TestNext_dropsOldRemovals(t *testing.T) {
	many := files("1")
	for i := range maxRemoved + 1 {
		many.Values[fmt.Sprint(i)] = nil
	}
	g := follow(t, &Generation{}, request(1, content(map[string]Files{"db": many})))
	g = follow(t, g, request(2, content(map[string]Files{"db": files("2", "a", "1")})))
	if g.Record.Since != 2 || len(g.Record.Removed) != 0 {
		t.Errorf("got since %d and %d removals, want 2 and none", g.Record.Since, len(g.Record.Removed))
	}
	if got := g.Record.ChangesSince(1).Changed; !slices.Equal(got, []string{"db/a"}) {
		t.Errorf("changed since 1: got %v, want every path", got)
	}
}

// TestNext_unowned: a generation whose Secrets are unknown is always replaced, and no
// Secret without a name appears in the changes.
func TestNext_unowned(t *testing.T) {
	rec := Record{Format: Format, Generation: 4, Since: 4, Layout: Flat, FileMode: 0o644,
		Unowned: map[string]PathRecord{"a": {Added: 4, Changed: 4}, "gone": {Added: 4, Changed: 4}}}
	if err := rec.Validate(); err != nil {
		t.Fatal(err)
	}
	g := New("T", rec, Content{Unowned: files("", "a", "1", "gone", "1")})
	if got := len(Dirs(g.Inside)); len(g.Inside) != 3 || got != 1 {
		t.Errorf("got %v, want a directory with two files", listing(g.Inside))
	}
	req := request(5, content(map[string]Files{"db": files("1", "a", "1")}))
	req.Layout = Flat
	next, changed := g.Next(req)
	if !changed || next.Unowned != nil {
		t.Errorf("got changed %v, unowned %v", changed, next.Unowned)
	}
	req.Content.Secrets = nil
	if _, changed := g.Next(req); !changed {
		t.Error("the files stay without any Secret")
	}
	want := changes(5, []string{"db"}, []string{}, []string{"a"}, []string{"gone"})
	if got := next.ChangesSince(4); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	rec.Layout = Nested
	if rec.Validate() == nil {
		t.Error("a nested record with unowned files is valid")
	}
}

// TestAdded_keepsOldEntries: entries whose place an old entry occupies come later.
func TestAdded_keepsOldEntries(t *testing.T) {
	old := follow(t, &Generation{}, request(1, content(map[string]Files{"db": files("1", "a", "1")})))
	g := follow(t, old, request(2, content(map[string]Files{"db": files("2", "a", "1", "b", "2"),
		"tls": files("1", "crt", "c")})))
	want := []string{"drwxr-xr-x db", "L--------- db/b ..data/b", "drwxr-xr-x tls",
		"L--------- tls/..data ../..data/tls",
		"L--------- tls/crt ..data/crt"}
	if got := listing(g.Added(old)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if g.SameOutside(old) || !g.SameOutside(g) {
		t.Error("SameOutside is wrong")
	}
	flat := request(3, content(map[string]Files{"x": files("1", "db", "1")}))
	flat.Layout = Flat
	if got := follow(t, g, flat).Added(g); len(got) != 0 {
		t.Errorf("a link in the place of a directory: got %q", listing(got))
	}
}

// TestNew_deepPaths: the memory for a generation does not grow with the number of files in the same deep directory.
func TestNew_deepPaths(t *testing.T) {
	f, deep := files("1"), strings.Repeat("d/", maxPath/2-50)
	for i := range 500 {
		f.Values[fmt.Sprint(deep, i)] = nil
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rec, _ := (&Generation{}).Next(request(1, content(map[string]Files{"db": f})))
	if err := rec.Validate(); err != nil {
		t.Fatal(err)
	}
	g := New("T", rec, content(map[string]Files{"db": f}))
	runtime.ReadMemStats(&after)
	if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 30 || len(Dirs(g.Inside)) != maxPath/2-50+2 {
		t.Errorf("allocated %d MiB for %d directories, want at most 30 MiB", mib, len(Dirs(g.Inside)))
	}
}
