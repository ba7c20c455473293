package writer

import (
	"testing"
)

// TestEnded: the ends and the lowest record survive a restart, and zero times removes the ends.
func TestEnded(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, testOptions(t, dir))
	if _, known := w.LowestNotified(); known {
		t.Error("a new volume contains a record")
	}
	for target, generation := range map[string]uint64{"a": 5, "b": 3, "c": 4} {
		if err := w.SetNotified(target, generation); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetEnded("a HUP", 5, 2); err != nil {
		t.Fatal(err)
	}
	shut(t, w)
	w = opened(t, testOptions(t, dir))
	if generation, times := w.Ended("a HUP"); generation != 5 || times != 2 {
		t.Errorf("ended = generation %d, %d times, want 5, 2", generation, times)
	}
	if lowest, known := w.LowestNotified(); lowest != 3 || !known {
		t.Errorf("lowest = %d, %v, want 3", lowest, known)
	}
	if err := w.SetEnded("a HUP", 6, 0); err != nil {
		t.Fatal(err)
	}
	if generation, times := w.Ended("a HUP"); generation != 0 || times != 0 {
		t.Errorf("ended = generation %d, %d times, want none", generation, times)
	}
}
