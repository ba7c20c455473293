package writer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// combinations returns outcomes of uncertain effects: every combination if there are
// few, otherwise the extremes and a sample.
func combinations(effects []*effect, random *rand.Rand) (all [][]outcome) {
	total := 1
	for _, e := range effects {
		total *= outcomesOf(e)
		if total > 256 {
			return sample(effects, random)
		}
	}
	for i := range total {
		c, rest := make([]outcome, len(effects)), i
		for j, e := range effects {
			c[j], rest = outcome(rest%outcomesOf(e)), rest/outcomesOf(e)
		}
		all = append(all, c)
	}
	return all
}

// outcomesOf returns the number of possible outcomes of an effect.
func outcomesOf(e *effect) int {
	if len(e.data) > 1 {
		return 3
	}
	return 2
}

func sample(effects []*effect, random *rand.Rand) (all [][]outcome) {
	none := make([]outcome, len(effects))
	every := slices.Repeat([]outcome{survived}, len(effects))
	all = append(all, none, every)
	for i := range effects { // a single effect, and all others
		alone, without := slices.Clone(none), slices.Clone(every)
		alone[i], without[i] = survived, lost
		all = append(all, alone, without)
	}
	for range 64 {
		c := make([]outcome, len(effects))
		for j, e := range effects {
			c[j] = outcome(random.IntN(outcomesOf(e)))
		}
		all = append(all, c)
	}
	return all
}

// TestPowerLoss simulates a power failure after every call of a publish. In every
// resulting state, ..data points to exactly the old or exactly the new files, every
// necessary link exists, and the next start and publish end as if nothing had
// happened.
func TestPowerLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	total, recovered, exhaustive := 0, 0, 0
	for _, layout := range layouts {
		for name, contents := range map[string][]Content{
			"change":         {mixed, changes},
			"removed Secret": {mixed, fewer},
			"new Secret":     {fewer, mixed},
			"one key":        {one("db", files("1", "k", "old")), one("db", files("2", "k", "new"))},
			"three":          {fewer, mixed, changes},
		} {
			t.Run(fmt.Sprintf("%s %v", name, layout), func(t *testing.T) {
				p := recordPower(t, layout, contents)
				random := rand.New(rand.NewPCG(1, 2))
				for call := -1; call < len(p.calls); call++ {
					all := combinations(p.disk.uncertain(call), random)
					if len(all) <= 256 {
						exhaustive++
					}
					for i, outcomes := range all {
						total++
						s := p.disk.after(call, outcomes)
						if got := s.published(); !p.allowed(call, got) {
							t.Fatalf("after %d %v, outcomes %v: ..data points to %v", call, p.calls[max(call, 0)],
								outcomes, got)
						}
						if i < 2 || random.IntN(len(all)) < 1 {
							recovered++
							p.recover(t, call, s)
						}
					}
					if t.Failed() {
						t.Fatalf("after %d %v", call, p.calls[max(call, 0)])
					}
				}
			})
		}
	}
	t.Logf("%d states after a power failure, %d of them recovered on a real file system,"+
		" %d calls with every combination",
		total, recovered, exhaustive)
}

// A power is a recorded run of publishes.
type power struct {
	layout Layout
	sets   []Content
	calls  []call
	began  []int // first call of each publish
	disk   *disk
	tree   map[string]string // in the end
}

func recordPower(t *testing.T, layout Layout, sets []Content) power {
	t.Helper()
	defer syscall.Umask(syscall.Umask(0o077)) // modes have to be set, and to last
	dir, c := testsupport.MemoryDir(t), newClock()
	opts := quiet(testOptions(t, dir))
	opts.Layout, opts.now = layout, c.Now
	opts, seam := withSeam(opts)
	w := opened(t, opts)
	p := power{layout: layout, sets: sets, disk: newDisk()}
	for _, set := range sets {
		p.began = append(p.began, len(seam.recorded()))
		c.Add(time.Minute) // with an old generation to remove
		publish(t, w, set)
	}
	p.calls = seam.recorded()
	for i, call := range p.calls {
		p.disk.record(i, call)
	}
	endGracePeriods(w, c)
	p.tree = tree(t, dir)
	delete(p.tree, "TIME1.json") // its numbers depend on the earlier publishes
	return p
}

// allowed reports whether apps may read files after a power failure behind call k:
// the old files or, from the swap on, the new files.
func (p power) allowed(k int, files map[string]string) bool {
	i := 0
	for i+1 < len(p.began) && p.began[i+1] <= k {
		i++
	}
	if maps.Equal(files, shown(p.layout, p.sets[i])) {
		return true
	}
	return i == 0 && files == nil || i > 0 && maps.Equal(files, shown(p.layout, p.sets[i-1]))
}

// recover starts on the state after the power failure.
func (p power) recover(t *testing.T, k int, s state) {
	t.Helper()
	dir, c := testsupport.MemoryDir(t), newClock()
	defer os.RemoveAll(dir)
	c.Add(time.Hour)
	s.write(s.root, dir)
	if got := visible(t, dir); len(got) > 0 && !p.allowed(k, got) {
		equal(t, "seen after the cut", got, shown(p.layout, p.sets[len(p.sets)-1]))
	}
	opts := quiet(testOptions(t, dir))
	opts.Layout, opts.now = p.layout, c.Now
	w := opened(t, opts)
	publish(t, w, p.sets[len(p.sets)-1])
	endGracePeriods(w, c)
	got := tree(t, dir)
	delete(got, "TIME1.json")
	equal(t, "in the end", got, p.tree)
	shut(t, w)
}

// TestPowerLoss_removedSecret: a power failure may undo a rename and not the later removals. The
// directory of a removed Secret is therefore emptied only once its renaming is on disk.
func TestPowerLoss_removedSecret(t *testing.T) {
	opts, seam := withSeam(testOptions(t, testsupport.MemoryDir(t)))
	w := opened(t, opts)
	publish(t, w, mixed)
	seam.reset(nil)
	publish(t, w, fewer)
	leftover, synced, removed := "", false, 0
	for _, c := range seam.recorded() {
		switch {
		case c.op == "Rename" && c.name == "tls":
			leftover, synced = c.to, false
		case c.op == "SyncDir" && c.name == ".":
			synced = true
		case c.op == "Remove" && generation.Top(c.name) == "tls":
			t.Errorf("%v under the name of the Secret", c)
		case c.op == "Remove" && generation.Top(c.name) == leftover:
			removed++
			if !synced {
				t.Errorf("%v before the renaming was on disk", c)
			}
		}
	}
	if removed == 0 {
		t.Error("nothing was removed")
	}
}
