package writer

import (
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestCheckEvents_missing: if inotify dropped events, everything is compared.
func TestCheckEvents_missing(t *testing.T) {
	dir, repaired := testsupport.MemoryDir(t), 0
	opts := testOptions(t, dir)
	opts.watch, opts.Repaired = newEvents, func() { repaired++ }
	w := opened(t, opts)
	publish(t, w, mixed)
	must(w.events.close()) // no event arrives any more
	w.events.take()
	put(current(dir), "db/password", "evil")
	w.locked(func() { w.checkEvents(t.Context()) })
	if repaired != 0 {
		t.Error("repaired without an event")
	}
	w.events.report("", 0)
	w.locked(func() { w.checkEvents(t.Context()) })
	if repaired != 1 {
		t.Errorf("got %d repairs, want 1", repaired)
	}
	equal(t, "visible", visible(t, dir), shown(generation.Nested, mixed))
}
