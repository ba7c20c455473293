package generation

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/notification"
)

// TestNotified_roundTrip: a record is read as it was written.
func TestNotified_roundTrip(t *testing.T) {
	a, b := notification.TargetRecord{Notified: 1, Ends: 2, Ended: 3,
		Settings: "HUP"}, notification.TargetRecord{Notified: 2}
	n := Notified{Volume: "id"}.With("a", a).With("b", b)
	e := n.Entry(0o640)
	got, err := ParseNotified(e.Data)
	if err != nil || !maps.Equal(got.Targets, map[string]notification.TargetRecord{"a": a,
		"b": b}) || got.Volume != "id" ||
		e.Path != NotifiedFile || e.Mode != 0o640 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "{", `{"format":2}`, `{"format":1,"targets":{"a":{"notified":4503599627370497}}}`,
		`{"format":1,"volume":"` + strings.Repeat("x", 65) + `"}`,
		`{"format":1,"targets":{"` + strings.Repeat("x", maxNotified) + `":{}}}`} {
		if _, err := ParseNotified([]byte(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

// rebuilt returns the record 7 of files with the mode of the record.
func rebuilt(files []string, layout Layout) Record {
	rec := Record{Generation: 7, Layout: layout, FileMode: 0o644}
	return Rebuild(rec, files, func(string) fs.FileMode { return 0o644 })
}

// TestRebuild_names: a rebuilt record contains the files with valid names, by Secret if the layout shows it.
func TestRebuild_names(t *testing.T) {
	files := []string{"db/a", "a", "db/..b", "..c", "../d"}
	nested, flat := rebuilt(files, Nested), rebuilt(files, Flat)
	if len(nested.Secrets) != 1 || len(nested.Secrets["db"].Files) != 1 || len(nested.Unowned) != 0 {
		t.Errorf("nested: got %v", nested)
	}
	got := slices.Sorted(maps.Keys(flat.Unowned))
	if len(flat.Secrets) != 0 || !slices.Equal(got, []string{"a", "db/a"}) {
		t.Errorf("flat: got %v", flat)
	}
	for _, rec := range []Record{nested, flat} {
		if _, err := ParseRecord(encode(rec)); err != nil {
			t.Error(err)
		}
	}
}

// TestParseRecord_rejects: a forged record never leads out of the volume.
func TestParseRecord_rejects(t *testing.T) {
	for name, change := range map[string]func(r *Record){
		"format":         func(r *Record) { r.Format = 2 },
		"no number":      func(r *Record) { r.Generation = 0 },
		"number":         func(r *Record) { r.Generation = MaxGeneration + 1 },
		"mode":           func(r *Record) { r.FileMode = 0o200 },
		"setuid":         func(r *Record) { r.FileMode = 0o644 | fs.ModeSetuid },
		"mode of a file": func(r *Record) { r.Secrets["db"].Files["a"] = PathRecord{Mode: 0o044} },
		"parent":         func(r *Record) { r.Secrets["db"].Files["../x"] = PathRecord{} },
		"own name":       func(r *Record) { r.Secrets["db"].Files["..data/x"] = PathRecord{} },
		"secret":         func(r *Record) { r.Secrets["a/b"] = SecretRecord{Generation: 1} },
		"no name":        func(r *Record) { r.Secrets[""] = SecretRecord{Generation: 1} },
		"no generation":  func(r *Record) { r.Secrets["x"] = SecretRecord{} },
		"later change":   func(r *Record) { r.Secrets["x"] = SecretRecord{Generation: 2} },
		"conflict":       func(r *Record) { r.Secrets["db"].Files["a/b"] = PathRecord{} },
		"unowned":        func(r *Record) { r.Unowned = map[string]PathRecord{"a": {}} },
		"unowned parent": func(r *Record) { r.Layout, r.Unowned = Flat, map[string]PathRecord{"../x": {}} },
		"later history":  func(r *Record) { r.Since = 2 },
		"later addition": func(r *Record) { r.Secrets["db"].Files["a"] = PathRecord{Added: 2} },
		"later value":    func(r *Record) { r.Secrets["db"].Files["a"] = PathRecord{Changed: 2} },
		"later removal":  func(r *Record) { r.Removed["b"] = []PathRecord{{Changed: 2}} },
		"no removal":     func(r *Record) { r.Removed["b"] = nil },
		"removed parent": func(r *Record) { r.Removed["../b"] = []PathRecord{{}} },
		"long removal":   func(r *Record) { r.Removed[strings.Repeat("a/", maxPath)+"b"] = []PathRecord{{}} },
		"many removals":  func(r *Record) { r.Removed["b"] = make([]PathRecord, maxRemoved+1) },
	} {
		rec, _ := (&Generation{}).Next(request(1, content(map[string]Files{"db": files("1", "a", "1")})))
		if _, err := ParseRecord(encode(rec)); err != nil {
			t.Fatal(err)
		}
		change(&rec)
		if _, err := ParseRecord(encode(rec)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := ParseRecord([]byte(`{"format":1,"generation":1,"fileMode":420,"layout":"round"}`)); err == nil {
		t.Error("an unknown layout: no error")
	}
}

// TestParseRecord_growing: a record must fit when it is written again with all fields.
func TestParseRecord_growing(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"format":1,"generation":1,"fileMode":420,"secrets":{"db":{"generation":1,"files":{"a":{}`)
	for i := range MaxRecord / 20 {
		fmt.Fprintf(&b, `,"%x":{}`, i)
	}
	b.WriteString("}}}}")
	_, err := ParseRecord([]byte(b.String()))
	if b.Len() > MaxRecord || err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("%d bytes: got %v", b.Len(), err)
	}
}

// TestParseNumber_rejects: the number is known from the first bytes, and forged numbers are rejected.
func TestParseNumber_rejects(t *testing.T) {
	rec, _ := (&Generation{}).Next(request(7, content(map[string]Files{"db": files("1", "a", "1")})))
	if n, err := ParseNumber(encode(rec)[:40]); n != 7 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for _, bad := range []string{"", "{}", `{"format":2,"generation":1,`, `{"format":1,"generation":0,`,
		`{"format":1,"generation":-1,`, `{"format":1,"generation":4503599627370497,`} {
		if n, err := ParseNumber([]byte(bad)); err == nil {
			t.Errorf("%s: got %d", bad, n)
		}
	}
}

// TestRebuild_tooLarge: a rebuilt record omits files of the largest Secrets, and has room for more.
func TestRebuild_tooLarge(t *testing.T) {
	files := []string{}
	for i := range 20 {
		files = append(files, fmt.Sprintf("db%d/a", i), fmt.Sprintf("db%d/b", i))
	}
	for i := range MaxRecord / 30 {
		files = append(files, fmt.Sprint("planted/", i))
	}
	var single []string
	for i := range 70_000 {
		single = append(single, fmt.Sprintf("planted-directory-%d/a", i))
	}
	nested, flat := rebuilt(files, Nested), rebuilt(files, Flat)
	for _, rec := range []Record{nested, flat, rebuilt(single, Nested)} {
		if n := len(encode(rec)); n > MaxRecord/2 || n < MaxRecord/4 {
			t.Errorf("%s: %d bytes, want about half of a record", rec.Layout, n)
		}
	}
	for name, s := range nested.Secrets {
		if len(s.Files) < 2 {
			t.Errorf("%s: got %v", name, s.Files)
		}
	}
}
