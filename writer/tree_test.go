package writer

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// visible returns the files of an app: the readable files under names without a
// leading "..". It omits dangling links.
func visible(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	see(dir, "", out)
	return out
}

func see(dir, rel string, out map[string]string) {
	p := filepath.Join(dir, rel)
	info, err := os.Stat(p)
	switch {
	case err != nil:
	case info.IsDir():
		entries, _ := os.ReadDir(p)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "..") {
				see(dir, filepath.Join(rel, e.Name()), out)
			}
		}
	case info.Mode().IsRegular():
		data, err := os.ReadFile(p)
		if err != nil {
			data = []byte("error: " + err.Error())
		}
		out[rel] = string(data)
	}
}

// shown returns the expected result of visible for set.
func shown(layout Layout, set Content) map[string]string {
	out := map[string]string{}
	for name, f := range set.Secrets {
		for file, value := range f.Values {
			out[layout.Path(name, file)] = string(value)
		}
	}
	return out
}

// tree lists all entries in dir, path → content. Names of generations become TIME1,
// TIME2, … in their order, and records are normalized for comparison between
// volumes.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out, times := map[string]string{}, map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if generation.GenerationName.MatchString(e.Name()) {
			times[e.Name()] = fmt.Sprintf("TIME%d", len(times)+1)
		}
	}
	normal := func(s string) string {
		for name, short := range times {
			s = strings.ReplaceAll(s, name, short)
		}
		return s
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if rel == "." || rel == generation.LockFile {
			return nil
		}
		out[normal(rel)] = normal(describe(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func describe(p string) string {
	info, err := os.Lstat(p)
	if err != nil {
		return err.Error()
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(p)
		return "→ " + target
	case info.Mode().IsRegular():
		data, err := os.ReadFile(p)
		if err != nil {
			return err.Error()
		}
		var v map[string]any
		if strings.HasSuffix(p, ".json") && json.Unmarshal(data, &v) == nil {
			if v["volume"] != nil {
				v["volume"] = "ID" // random
			}
			data, _ = json.Marshal(v) // keys in order
		}
		return fmt.Sprintf("%v %q", info.Mode(), data)
	default:
		return info.Mode().String()
	}
}

// equal compares two listings and reports the differences, line by line.
func equal(t testing.TB, what string, got, want map[string]string) bool {
	t.Helper()
	if maps.Equal(got, want) {
		return true
	}
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		g, inGot := got[p]
		n, inWant := want[p]
		switch {
		case !inWant:
			t.Errorf("%s: %s is there: %s", what, p, g)
		case !inGot:
			t.Errorf("%s: %s is not there, want %s", what, p, n)
		case g != n:
			t.Errorf("%s: %s: got %s, want %s", what, p, g, n)
		}
	}
	return false
}
