package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// target is an app. It reads all files each time that it is notified.
type target struct {
	*world
	name string
	// What follows is guarded by mu.
	view    map[string]int // Secret → the stamp that it read last
	told    uint64         // the generation that it was notified of last
	trouble string         // how it answers; "" is well
}

// How a target answers while a fault lasts.
const (
	targetFails  = "fails"
	targetHangs  = "hangs"
	targetSlow   = "is slow"
	targetWaits  = "is too young"
	targetSilent = "is notified, and fails all the same"
	targetKills  = "is notified, and the program is killed then"
)

var troubles = []string{targetFails, targetHangs, targetSlow, targetWaits, targetSilent, targetKills}

// calledTarget is a target as one life of the program calls it.
type calledTarget struct {
	*target
	life *life
}

// Notify does with the app what its trouble says.
func (t *calledTarget) Notify(ctx context.Context, c notifier.Changes) error {
	var trouble string
	t.locked(func() {
		t.calls++
		trouble = t.trouble
		t.checkCall(c)
		t.tracef("target %s is called for generation %d, and %s", t.name, c.Generation, trouble)
	})
	switch trouble {
	case targetFails:
		return notifier.Failf("refused", "refused")
	case targetWaits:
		return &notifier.Failure{Kind: "young", Waiting: true, RetryAfter: 3 * time.Second, Err: errors.New("too young")}
	case targetHangs, targetSlow:
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		wait := time.After(2 * time.Second)
		if trouble == targetHangs {
			wait = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait:
		}
	}
	return t.take(c, trouble)
}

// take is the app as it takes the notification, unless who sent it is dead.
func (t *calledTarget) take(c notifier.Changes, trouble string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.dead {
		return errDead
	}
	t.view, t.told = t.views(), c.Generation
	switch trouble {
	case targetSilent:
		return notifier.Failf("lost", "the answer is lost")
	case targetKills:
		t.life.kill(t.name + " was notified")
	}
	return nil
}

// checkCall: nobody is notified before the files are there, or of what the volume
// says that it was notified of. mu is held.
func (t *calledTarget) checkCall(c notifier.Changes) {
	if t.life.dead {
		return
	}
	link := t.disk.root.entries[plan.DataLink]
	if g := t.current(); g != nil && !g.lost && g.rec.Generation < c.Generation {
		t.failf("target %s is notified of generation %d while generation %d is in the volume", t.name, c.Generation, g.rec.Generation)
	} else if link == nil && !t.disk.root.touched[plan.DataLink] {
		t.failf("target %s is notified of generation %d of an empty volume", t.name, c.Generation)
	}
	if recorded, ok := t.recorded(t.name); ok && !t.life.blind && recorded == c.Generation && t.told == c.Generation {
		t.failf("target %s is notified of generation %d again, which is recorded", t.name, c.Generation)
	}
}

// recorded is what the volume says of a target, unless harm was done to that.
func (w *world) recorded(target string) (uint64, bool) {
	n := w.disk.root.entries[plan.NotifiedFile]
	if n == nil || n.foreign {
		return 0, false
	}
	var record struct {
		Told map[string]uint64 `json:"told"`
	}
	if json.Unmarshal(n.data, &record) != nil {
		return 0, false
	}
	generation, ok := record.Told[target]
	return generation, ok
}
