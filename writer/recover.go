package writer

import (
	"fmt"

	"github.com/secret-sync/secret-sync/writer/inspect"
)

// recover makes the volume right after whatever an earlier process left. What
// apps can read stays as it is; only what nothing points to is removed.
//
//  1. What there is (inspect.Leftovers): the generation that apps see, or which they
//     shall see as ..data points to none; those before it; and which targets were
//     notified. A volume without any generation is empty.
//  2. Generations from before get a new grace. Those that never were published go with 3.
//  3. Links and directories of Secrets are put right; temporaries, records
//     without a directory and stale links go (put.go).
//
// A crash in any of this leaves what the next start recovers the same way. A
// failure to remove is no reason not to start; one to look is. What is in the
// files is believed until the first Publish compares it (confirm).
func (w *Writer) recover() error {
	left, err := inspect.Leftovers(w.vol.Volume, w.opts.Flat, w.opts.FileMode, w.log) // 1
	if err != nil {
		return fmt.Errorf("%w: read %q: %w", ErrUnusable, w.opts.Dir, err)
	}
	w.current.Store(left.Current)
	w.restored, w.last, w.notified = true, left.Last, left.Notified
	w.astray.Store(left.Astray)    // until tidy
	for _, old := range left.Old { // 2
		w.old = append(w.old, retired{dir: old.Dir, at: w.opts.now(), size: old.Size})
	}
	w.tidyOrRetry() // 3
	w.collect()
	w.arm()
	return nil
}
