package notifier

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestRestore: the record at the start decides whether a notification is pending.
func TestRestore(t *testing.T) {
	const none = -1
	for _, test := range []struct {
		name        string
		newest      uint64
		record      int
		notifyFirst bool
		want        uint64
	}{
		{"empty volume, generation 1 counts as notified", 0, none, false, 1},
		{"empty volume, generation 1 is pending", 0, none, true, 0},
		{"no record, the current generation counts as notified", 7, none, false, 7},
		{"no record, NotifyFirst applies to an empty volume only", 7, none, true, 7},
		{"pending", 7, 5, false, 5},
		{"generation 1 is pending", 1, 0, true, 0},
		{"NotifyFirst was set before the first publish", 0, 1, true, 0},
		{"NotifyFirst was unset before the first publish", 0, 0, false, 1},
		{"generations lost", 0, 7, false, 7},
		{"generations lost, NotifyFirst", 0, 7, true, 7},
		{"record above the newest", 3, 7, false, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			volume := &life{disk: newDisk(test.newest)}
			if test.record != none {
				volume.records["app"] = notification.TargetRecord{Notified: uint64(test.record)}
			}
			n := newNotifier(t, Options{Targets: []Target{(&fakeApp{name: "app"}).target()}, Volume: volume,
				NotifyFirst: test.notifyFirst})
			if got := volume.record("app"); got != test.want {
				t.Errorf("record = %d, want %d", got, test.want)
			}
			want := test.newest > 0 && test.newest != test.want
			if got := n.Status()[0].Pending; got != want {
				t.Errorf("pending = %v, want %v", got, want)
			}
		})
	}
}

// TestRestore_lost: a target whose record could not be read may have missed every generation.
func TestRestore_lost(t *testing.T) {
	volume := &life{disk: newDisk(7)}
	volume.lost = true
	n := newNotifier(t, Options{Targets: []Target{(&fakeApp{name: "app"}).target()}, Volume: volume})
	if got := n.Status()[0]; got.Notified != 0 || !got.Pending {
		t.Errorf("status = %+v, want notified of none and pending", got)
	}
}

// TestPending_resetVolume: a record above the newest number belongs to a reset volume.
// The target does not wait until the numbers reach the record.
func TestPending_resetVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := notifiedOf(7), &fakeApp{name: "app"}
		volume.newest = 3
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume})
		defer stop()
		synctest.Wait()
		volume.publish()
		n.Poke()
		synctest.Wait()
		if got, want := app.notified(), []uint64{3, 4}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
	})
}

// TestRecord_isRetried: with a full disk, the process repeats no notification, and records
// it once there is space.
func TestRecord_isRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testsupport.Log
		volume, app := &life{disk: newDisk(1)}, &fakeApp{name: "app"}
		volume.full = true
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume,
			Logger: log.Logger(slog.LevelInfo)})
		defer stop()
		volume.publish()
		n.Poke()
		time.Sleep(time.Hour)
		n.Poke()
		synctest.Wait()
		if got, want := app.notified(), []uint64{2}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
		if got := log.Count("level=WARN"); got != 1 {
			t.Errorf("%d warnings in an hour, want 1", got)
		}
		volume.set(func(d *disk) { d.full = false })
		time.Sleep(backoffMax)
		synctest.Wait()
		if got := volume.record("app"); got != 2 {
			t.Errorf("record = %d, want 2", got)
		}
	})
}

// TestRestore_newTarget: a target added to the configuration starts with the lowest generation of all
// records, so a pending notification is not lost if the list of targets changes.
func TestRestore_newTarget(t *testing.T) {
	volume := &life{disk: newDisk(7)}
	volume.records["webhook:http://a"] = notification.TargetRecord{Notified: 5}
	volume.records["exec"] = notification.TargetRecord{Notified: 7}
	added := &fakeApp{name: "webhook:http://b"}
	n := newNotifier(t, Options{Targets: []Target{added.target()}, Volume: volume})
	if got := n.Status()[0]; got.Notified != 5 || !got.Pending {
		t.Errorf("status = %+v, want notified of 5 and pending", got)
	}
	if got := volume.record("webhook:http://b"); got != 5 {
		t.Errorf("record = %d, want 5", got)
	}
}

// TestSurvival_oneRecord: the end of a process and its withdrawn notification are a single record, so no crash
// separates them. The record contains the signaled process for the time after a restart.
func TestSurvival_oneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, true)
		defer func() { s.stop() }()
		before := s.volume.writes
		s.publish()
		want := notification.TargetRecord{Notified: 1, Ends: 1, Ended: 2, Settings: "HUP",
			Process: "after 1 signals", Previous: 1}
		if got := s.volume.records["app"]; got != want || s.volume.writes != before+2 {
			t.Errorf("record = %+v after %d writes, want %+v after 2", got, s.volume.writes-before, want)
		}
		s.stop()
		s.start()
		if s.process.remembered != want.Process {
			t.Errorf("after a restart: process %q, want %q", s.process.remembered, want.Process)
		}
	})
}

// TestSurvival_recordIsRetried: a restart does not forget the end of a process if the volume was full at that time.
func TestSurvival_recordIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, true)
		s.volume.publish()
		s.notifier.Poke()
		synctest.Wait()
		s.volume.set(func(d *disk) { d.full = true })
		time.Sleep(time.Minute)
		s.volume.set(func(d *disk) { d.full = false })
		time.Sleep(backoffMax)
		synctest.Wait()
		s.stop()
		s.start()
		defer s.stop()
		s.publish()
		s.want([]uint64{2, 3}, state{Notified: 1, Pending: true, Error: "stopped", Successes: 1, Failures: 1}, 1)
	})
}
