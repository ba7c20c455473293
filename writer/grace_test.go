package writer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestGraceBounds: the limits of the grace period are 10 s, 16 generations, and the size of the newest generation or 1
// MiB. The last replaced generation always stays.
func TestGraceBounds(t *testing.T) {
	sized := func(n, size int) Content { return one("db", files(itoa(n), "k", strings.Repeat(itoa(n%10), size))) }
	for _, tt := range []struct {
		name  string
		sizes []int
		wait  time.Duration
		want  int // remaining old generations
		then  int // and after another publish by the next process
	}{
		{"time", []int{1, 2, 3}, 11 * time.Second, 0, 1},
		{"within the time", []int{1, 2, 3}, 9 * time.Second, 2, 3},
		{"count", slices.Repeat([]int{10}, 40), 0, 16, 16},
		{"size", slices.Repeat([]int{490 << 10}, 12), 0, 2, 2},
		{"small ones by count", slices.Repeat([]int{8 << 10}, 40), 0, 16, 16},
		{"just replaced and large", []int{900 << 10, 900 << 10, 900 << 10, 3 << 20, 1}, 0, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, c := testsupport.MemoryDir(t), newClock()
			opts := testOptions(t, dir)
			opts.now = c.Now
			w := opened(t, opts)
			for i, size := range tt.sizes {
				publish(t, w, sized(i, size))
			}
			c.Add(tt.wait)
			runDue(w)
			if got := len(w.old); got != tt.want {
				t.Errorf("old generations: got %d, want %d", got, tt.want)
			}
			shut(t, w)
			w = opened(t, opts) // the next process respects the limits, too
			if got := len(w.old); got != tt.want {
				t.Errorf("after a restart: got %d, want %d", got, tt.want)
			}
			publish(t, w, sized(len(tt.sizes), tt.sizes[len(tt.sizes)-1]))
			if got, want := len(w.old), tt.then; got != want {
				t.Errorf("after one more: got %d, want %d", got, want)
			}
		})
	}
}

// TestGraceBounds_emptyKeys: an empty file counts as a page, because it occupies an inode. So do directories and the
// record. The next process does not count the directories.
func TestGraceBounds_emptyKeys(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, testOptions(t, dir))
	for n := range 4 {
		content := files(itoa(n), "version", itoa(n))
		for i := range 300 {
			content.Values[itoa(i)] = nil
		}
		publish(t, w, one("db", content))
	}
	if n, size := len(w.old), w.old[0].size>>12; n != 1 || size < 301+2+1 || size > 301+2+20 {
		t.Errorf("got %d old generations of %d pages, want 1 of a page for each entry", n, size)
	}
	want := w.old[0].size - 2<<12
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if len(w.old) != 1 || w.old[0].size != want {
		t.Errorf("after a restart: got %+v, want a generation of %d bytes", w.old, want)
	}
}

// TestDue_first: Run wakes at the end of the oldest grace period, or earlier for a retry.
func TestDue_first(t *testing.T) {
	dir, c := testsupport.MemoryDir(t), newClock()
	opts := testOptions(t, dir)
	opts.now = c.Now
	w := opened(t, opts)
	publish(t, w, fewer)
	if due := w.due(); !due.Equal(w.nextSweep) {
		t.Errorf("with nothing to do: got %v, want the next step of the sweep", due)
	}
	publish(t, w, mixed)
	end := w.old[0].at.Add(grace)
	w.nextSweep = end.Add(sweepPeriod)
	for again, want := range map[time.Time]time.Time{{}: end, end.Add(1): end, end.Add(-1): end.Add(-1)} {
		if w.uncertain.retryAt = again; !w.due().Equal(want) {
			t.Errorf("to be tried again at %v: got %v, want %v", again, w.due(), want)
		}
	}
}
