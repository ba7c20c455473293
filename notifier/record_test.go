package notifier

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettle(t *testing.T) {
	const none = -1
	for _, test := range []struct {
		name        string
		newest      uint64
		record      int
		notifyFirst bool
		want        uint64
	}{
		{"empty volume, the first counts as notified", 0, none, false, 1},
		{"empty volume, the first is pending", 0, none, true, 0},
		{"found one, it counts as notified", 7, none, false, 7},
		{"found one, NotifyFirst is of the volume's first only", 7, none, true, 7},
		{"pending", 7, 5, false, 5},
		{"not notified of the first yet", 1, 0, true, 0},
		{"the setting changed before the first", 0, 1, true, 0},
		{"the setting changed back before the first", 0, 0, false, 1},
		{"generations lost, the app has read one", 0, 7, false, 7},
		{"generations lost, the app has read one, NotifyFirst", 0, 7, true, 7},
		{"record above the newest", 3, 7, false, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			volume := &life{disk: newDisk(test.newest)}
			if test.record != none {
				volume.notified["app"] = uint64(test.record)
			}
			n := newNotifier(t, Options{Targets: []Target{(&fakeApp{name: "app"}).target()}, Volume: volume, NotifyFirst: test.notifyFirst})
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

// A record above the newest number is of a volume that was reset; it must not
// keep the target waiting until the numbers are up there again.
func TestResetVolumeIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume, app := settled(7), &fakeApp{name: "app"}
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

// A full disk: a notification is not repeated by this process, and is recorded
// once there is room.
func TestRecordIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		volume, app := &life{disk: newDisk(1)}, &fakeApp{name: "app"}
		volume.full = true
		n, stop := start(t, Options{Targets: []Target{app.target()}, Volume: volume, Logger: log.logger(slog.LevelInfo)})
		defer stop()
		volume.publish()
		n.Poke()
		time.Sleep(time.Hour)
		n.Poke()
		synctest.Wait()
		if got, want := app.notified(), []uint64{2}; !slices.Equal(got, want) {
			t.Errorf("notified = %v, want %v", got, want)
		}
		if got := log.count("level=WARN"); got != 1 {
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

func TestEncodeHasNoNull(t *testing.T) {
	got := Changes{Generation: 3, Changed: []string{"db/password"}}.JSON()
	want := `{"generation":3,"secrets":[],"added":[],"changed":["db/password"],"removed":[]}`
	if string(got) != want {
		t.Errorf("encode = %s, want %s", got, want)
	}
}
