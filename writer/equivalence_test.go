package writer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// randomSet returns a set of up to three Secrets with few names, so two Secrets
// overlap often.
func randomSet(r *rand.Rand) Content {
	paths := []string{"a", "b", "c.d", ".hidden", "x/y", "x/z", "x/w/v", "deep/er/still", "...", "-", "_tmp", "data",
		"long-" + fmt.Sprint(r.IntN(2))}
	paths = slices.DeleteFunc(paths, func(p string) bool { return p == "..." })
	set := Content{Complete: true, Secrets: map[string]Files{}}
	for _, name := range []string{"db", "tls", "a"} {
		if r.IntN(3) == 0 {
			continue
		}
		f := Files{UID: "uid-" + name, ResourceVersion: fmt.Sprint(r.IntN(1000)), Values: map[string]secret.Value{}}
		for _, p := range paths {
			if r.IntN(2) == 0 {
				f.Values[p] = secret.Value(fmt.Sprintf("%s %d", p, r.IntN(3)))
				if r.IntN(8) == 0 {
					f.Values[p] = nil
				}
			}
		}
		set.Secrets[name] = f
	}
	return set
}

// flattened leaves each shared path to the first of its Secrets.
func flattened(set Content) Content {
	taken := map[string]bool{}
	out := Content{Complete: set.Complete, Secrets: map[string]Files{}}
	for _, name := range slices.Sorted(maps.Keys(set.Secrets)) {
		f := set.Secrets[name]
		f.Values = maps.Clone(f.Values)
		maps.DeleteFunc(f.Values, func(p string, _ secret.Value) bool { return taken[p] })
		for p := range f.Values {
			taken[p] = true
		}
		out.Secrets[name] = f
	}
	return out
}

// TestPublish_equivalence: publishing A and then B equals publishing B into an empty volume, and
// ChangesSince returns the differences between A and B.
func TestPublish_equivalence(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			layout := layouts[seed%2]
			sets := []Content{{}}
			for range 2 + r.IntN(4) {
				set := randomSet(r)
				if layout == generation.Flat {
					set = flattened(set)
				}
				sets = append(sets, set)
			}
			last := sets[len(sets)-1]
			way, got := publishAll(t, layout, sets[1:]...)
			_, want := publishAll(t, layout, last)
			delete(got, "TIME1.json")
			delete(want, "TIME1.json")
			equal(t, "after the others", got, want)
			checkChanges(t, way, layout, sets)
		})
	}
}

// publishAll gives the writer and the tree after the graces.
func publishAll(t *testing.T, layout Layout, sets ...Content) (*Writer, map[string]string) {
	t.Helper()
	dir, c := testsupport.MemoryDir(t), newClock()
	opts := quiet(testOptions(t, dir))
	opts.Layout, opts.now = layout, c.Now
	w := opened(t, opts)
	for _, set := range sets {
		publish(t, w, set)
		if !equal(t, "visible", visible(t, dir), shown(layout, set)) {
			t.FailNow()
		}
	}
	c.Add(grace + time.Second)
	runDue(w)
	return w, tree(t, dir)
}

// checkChanges compares ChangesSince each generation with the sets themselves.
func checkChanges(t *testing.T, w *Writer, layout Layout, sets []Content) {
	t.Helper()
	now := shown(layout, sets[len(sets)-1])
	generation, i := uint64(0), 0
	for i = range sets {
		if i > 0 && (i == 1 || !slices.Equal(secretsOf(sets[i]), secretsOf(sets[i-1])) ||
			!maps.Equal(shown(layout, sets[i]), shown(layout, sets[i-1]))) {
			generation++
		}
		then, c := shown(layout, sets[i]), w.ChangesSince(generation)
		for p := range now {
			was, there := then[p]
			switch {
			case !there && !slices.Contains(c.Added, p):
				t.Errorf("since %d: %s was added, got %+v", generation, p, c)
			case there && was != now[p] && !slices.Contains(c.Changed, p):
				t.Errorf("since %d: %s was changed, got %+v", generation, p, c)
			}
		}
		for p := range then {
			if _, there := now[p]; !there && !slices.Contains(c.Removed, p) {
				t.Errorf("since %d: %s was removed, got %+v", generation, p, c)
			}
		}
		for _, p := range c.Removed {
			if _, there := now[p]; there {
				t.Errorf("since %d: %s is there, and counted as removed", generation, p)
			}
		}
	}
	if got := w.Newest(); got != generation {
		t.Errorf("newest generation: got %d, want %d", got, generation)
	}
}

func secretsOf(set Content) []string { return slices.Sorted(maps.Keys(set.Secrets)) }

// TestChangesSince_removedTwice: a path was removed, came back and was removed again. A reader of
// its first version still sees it reported as removed.
func TestChangesSince_removedTwice(t *testing.T) {
	w := opened(t, testOptions(t, testsupport.MemoryDir(t)))
	with, without := one("db", files("1", "a", "1", "b", "1")), one("db", files("2", "a", "1"))
	for _, set := range []Content{with, without, with, without} {
		publish(t, w, set)
	}
	for since, want := range map[uint64][]string{1: {"db/b"}, 3: {"db/b"}, 4: {}} {
		if got := w.ChangesSince(since).Removed; !slices.Equal(got, want) {
			t.Errorf("removed since %d: got %v, want %v", since, got, want)
		}
	}
}
