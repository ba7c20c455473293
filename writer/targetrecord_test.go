package writer

import (
	"testing"

	"github.com/secret-sync/secret-sync/internal/notification"
)

// TestTargetRecord_restart: the records and the lowest generation survive a restart.
func TestTargetRecord_restart(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, testOptions(t, dir))
	if _, known := w.LowestNotified(); known {
		t.Error("a new volume contains a record")
	}
	want := notification.TargetRecord{Notified: 5, Ends: 2, Ended: 6, Settings: "HUP"}
	for target, record := range map[string]notification.TargetRecord{"a": want, "b": {Notified: 3},
		"c": {Notified: 4}} {
		if err := w.SetTargetRecord(target, record); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if got, known := w.TargetRecord("a"); got != want || !known {
		t.Errorf("record = %+v, %v, want %+v", got, known, want)
	}
	if lowest, known := w.LowestNotified(); lowest != 3 || !known {
		t.Errorf("lowest = %d, %v, want 3", lowest, known)
	}
}
