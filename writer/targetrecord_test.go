package writer

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestTargetRecord_base: the first publish writes a base record, so a target without a record is a new target. If the
// base record is missing or unreadable, the records of all targets were lost. The base record names the volume.
func TestTargetRecord_base(t *testing.T) {
	dir := t.TempDir()
	name := ""
	for _, step := range []struct {
		name   string
		change func(record string)
		lost   bool
	}{
		{"empty volume", func(string) {}, false},
		{"published", func(string) {}, false},
		{"unreadable", func(record string) { must(os.WriteFile(record, []byte("{"), 0o600)) }, true},
		{"missing", func(record string) { must(os.Remove(record)) }, true},
	} {
		step.change(filepath.Join(dir, generation.NotifiedFile))
		w := opened(t, testOptions(t, dir))
		if records, lost := w.TargetRecords(); lost != step.lost || len(records) > 0 {
			t.Errorf("%s: records = %+v, lost = %v, want none, %v", step.name, records, lost, step.lost)
		}
		if got := w.State().Notified.Volume; got == "" || step.name == "published" && got != name {
			t.Errorf("%s: the volume is named %q, want a name that stays", step.name, got)
		}
		name = w.State().Notified.Volume
		publish(t, w, mixed)
		shut(t, w)
	}
	empty := t.TempDir()
	must(os.WriteFile(filepath.Join(empty, generation.NotifiedFile), []byte("{"), 0o600))
	if _, lost := opened(t, testOptions(t, empty)).TargetRecords(); !lost {
		t.Error("unreadable in an empty volume: want lost")
	}
}

// TestTargetRecord_restart: the records survive a restart.
func TestTargetRecord_restart(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, testOptions(t, dir))
	if records, lost := w.TargetRecords(); len(records) > 0 || lost {
		t.Error("a new volume contains a record")
	}
	want := notification.TargetRecord{Notified: 5, Ends: 2, Ended: 6, Settings: "HUP"}
	all := map[string]notification.TargetRecord{"a": want, "b": {Notified: 3}, "c": {Notified: 4}}
	for target, record := range all {
		if err := w.SetTargetRecord(target, record); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if got, lost := w.TargetRecords(); !maps.Equal(got, all) || lost {
		t.Errorf("records = %+v, %v, want %+v", got, lost, all)
	}
}
