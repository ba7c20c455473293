package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestOldGeneration_isALink: a planted link in the place of an old generation's
// directory is removed, but not its target.
func TestOldGeneration_isALink(t *testing.T) {
	for _, layout := range layouts {
		for _, place := range []string{"the generation", "a Secret's directory in it"} {
			if layout == generation.Flat && place != "the generation" {
				continue
			}
			t.Run(fmt.Sprint(place, ", ", layout), func(t *testing.T) {
				dir := testsupport.MemoryDir(t)
				opts := testOptions(t, dir)
				opts.Layout = layout
				w := opened(t, opts)
				publish(t, w, payloadOf(1, 1, 100))
				old := w.current.Load().Dir
				publish(t, w, payloadOf(2, 1, 100))
				from, to := filepath.Join(dir, old), w.current.Load().Dir
				if place != "the generation" {
					from, to = filepath.Join(from, "db"), filepath.Join("..", to, "db")
				}
				must(os.RemoveAll(from))
				must(os.Symlink(to, from))
				if w.mu.Lock(); !w.removeOldest(func() bool { return true }) {
					t.Error("nothing was dropped")
				}
				w.mu.Unlock()
				if mismatched := mismatches(w); len(mismatched) > 0 {
					t.Errorf("the generation that apps see: got %v, want it whole", mismatched)
				}
				if _, err := os.Lstat(filepath.Join(dir, old)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the old one: got %v, want it gone", err)
				}
			})
		}
	}
}
