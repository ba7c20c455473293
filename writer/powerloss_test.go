package writer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// choices gives what may have happened, in every combination while those are
// few, else the extremes and a sample.
func choices(open []*effect, random *rand.Rand) (all [][]int) {
	total := 1
	for _, e := range open {
		total *= kindsOf(e)
		if total > 256 {
			return sampled(open, random)
		}
	}
	for i := range total {
		c, rest := make([]int, len(open)), i
		for j, e := range open {
			c[j], rest = rest%kindsOf(e), rest/kindsOf(e)
		}
		all = append(all, c)
	}
	return all
}

func kindsOf(e *effect) int {
	if len(e.data) > 1 {
		return 3
	}
	return 2
}

func sampled(open []*effect, random *rand.Rand) (all [][]int) {
	none := make([]int, len(open))
	every := slices.Repeat([]int{1}, len(open))
	all = append(all, none, every)
	for i := range open { // one alone, and all but one
		alone, without := slices.Clone(none), slices.Clone(every)
		alone[i], without[i] = 1, 0
		all = append(all, alone, without)
	}
	for range 64 {
		c := make([]int, len(open))
		for j, e := range open {
			c[j] = random.IntN(kindsOf(e))
		}
		all = append(all, c)
	}
	return all
}

// A power cut at any moment of a publish leaves what was synced, and of the rest
// anything. Whatever it leaves, ..data points to exactly the old or exactly the
// new files, every link that apps need is there, and the next start and publish
// end as if nothing had been.
func TestPowerLoss(t *testing.T) {
	cases, recovered, exhaustive := 0, 0, 0
	for _, flat := range []bool{false, true} {
		for name, sets := range map[string][]Set{
			"change":      {mixed, changes},
			"Secret gone": {mixed, fewer},
			"Secret new":  {fewer, mixed},
			"one key":     {one("db", files("1", "k", "old")), one("db", files("2", "k", "new"))},
			"three":       {fewer, mixed, changes},
		} {
			t.Run(fmt.Sprintf("%s flat=%v", name, flat), func(t *testing.T) {
				p := recordPower(t, flat, sets)
				random := rand.New(rand.NewPCG(1, 2))
				for k := -1; k < len(p.calls); k++ {
					all := choices(p.disk.open(k), random)
					if len(all) <= 256 {
						exhaustive++
					}
					for i, c := range all {
						cases++
						s := p.disk.after(k, func(j int, _ *effect) int { return c[j] })
						got := s.published()
						if !p.allowed(k, got) {
							t.Fatalf("cut behind %d %v, happened %v: ..data points to %v", k, p.calls[max(k, 0)], c, got)
						}
						if i < 2 || random.IntN(len(all)) < 1 {
							recovered++
							p.recover(t, k, s)
						}
					}
					if t.Failed() {
						t.Fatalf("cut behind %d %v", k, p.calls[max(k, 0)])
					}
				}
			})
		}
	}
	t.Logf("%d states after a power cut, %d of them recovered on a real file system, %d cuts with every combination", cases, recovered, exhaustive)
}

// power is a recorded run of publishes.
type power struct {
	flat  bool
	sets  []Set
	calls []call
	began []int // the first call of each publish
	disk  *disk
	tree  map[string]string // in the end
}

func recordPower(t *testing.T, flat bool, sets []Set) power {
	t.Helper()
	defer syscall.Umask(syscall.Umask(0o077)) // modes have to be set, and to last
	dir, c := memoryDir(t), newClock()
	opts := quiet(testOptions(t, dir))
	opts.Flat, opts.now = flat, c.Now
	opts, seam := withSeam(opts)
	w := open(t, opts)
	p := power{flat: flat, sets: sets, disk: newDisk()}
	for _, set := range sets {
		p.began = append(p.began, len(seam.recorded()))
		c.Add(time.Minute) // with an old one to remove
		publish(t, w, set)
	}
	p.calls = seam.recorded()
	for i, call := range p.calls {
		p.disk.record(i, call)
	}
	settle(w, c)
	p.tree = tree(t, dir)
	delete(p.tree, "TIME1.json") // its numbers depend on what was published before
	return p
}

// allowed reports whether files may be what apps read after a cut behind call k:
// the old ones or, from the swap on, the new ones.
func (p power) allowed(k int, files map[string]string) bool {
	i := 0
	for i+1 < len(p.began) && p.began[i+1] <= k {
		i++
	}
	if maps.Equal(files, shown(p.flat, p.sets[i])) {
		return true
	}
	return i == 0 && files == nil || i > 0 && maps.Equal(files, shown(p.flat, p.sets[i-1]))
}

// recover starts on what the power cut left.
func (p power) recover(t *testing.T, k int, s state) {
	t.Helper()
	dir, c := memoryDir(t), newClock()
	defer os.RemoveAll(dir)
	c.Add(time.Hour)
	s.write(t, s.root, dir)
	if got := visible(t, dir); len(got) > 0 && !p.allowed(k, got) {
		equal(t, "seen after the cut", got, shown(p.flat, p.sets[len(p.sets)-1]))
	}
	opts := quiet(testOptions(t, dir))
	opts.Flat, opts.now = p.flat, c.Now
	w := open(t, opts)
	publish(t, w, p.sets[len(p.sets)-1])
	settle(w, c)
	got := tree(t, dir)
	delete(got, "TIME1.json")
	equal(t, "in the end", got, p.tree)
	shut(t, w)
}

// A power cut may undo a rename and not the removals that came after it: the
// directory of a Secret that goes is emptied only once its renaming is on disk.
func TestASecretsDirectoryIsEmptiedAfterItsRenamingIsOnDisk(t *testing.T) {
	opts, seam := withSeam(testOptions(t, memoryDir(t)))
	w := open(t, opts)
	publish(t, w, mixed)
	seam.reset(nil)
	publish(t, w, fewer)
	renamed, synced, removed := false, false, 0
	for _, c := range seam.recorded() {
		switch {
		case c.op == "Rename" && c.name == "tls":
			renamed, synced = true, false
		case c.op == "SyncDir" && c.name == ".":
			synced = true
		case c.op == "Remove" && strings.HasPrefix(c.name, generation.Temporary):
			removed++
			if !renamed || !synced {
				t.Errorf("%v before the renaming was on disk", c)
			}
		}
	}
	if removed == 0 {
		t.Error("nothing was removed")
	}
}
