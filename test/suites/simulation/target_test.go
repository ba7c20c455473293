package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/test/suites/simulation/reader"
)

// A target is a way in which the program notifies an app.
type target struct {
	*world
	name    string
	app     *reader.App // guarded by mu
	trouble string      // the current fault; "" means none; guarded by mu
}

// The responses of a target during a fault.
const (
	targetFails  = "fails"
	targetHangs  = "hangs"
	targetSlow   = "is slow"
	targetWaits  = "is too young"
	targetSilent = "is notified, and fails all the same"
	targetKills  = "is notified, and the program is killed then"
)

var troubles = []string{targetFails, targetHangs, targetSlow, targetWaits, targetSilent, targetKills}

// A calledTarget is a target of a single life of the program.
type calledTarget struct {
	*target
	life *life
}

// Notify delivers the notification or fails, depending on the current fault.
func (t *calledTarget) Notify(ctx context.Context, c notifier.Changes) error {
	var trouble string
	t.locked(func() {
		t.calls++
		trouble = t.trouble
		if !t.life.dead {
			t.app.CheckCall(c.Generation, t.life.blind)
		}
		t.tracef("target %s is called for generation %d, and %s", t.name, c.Generation, trouble)
	})
	switch trouble {
	case targetFails:
		return notifier.Failf("refused", "refused")
	case targetWaits:
		return &notifier.Failure{Kind: "young", Waiting: true, RetryAfter: 3 * time.Second,
			Err: errors.New("too young")}
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
	return t.deliver(c, trouble)
}

// deliver makes the app receive the notification, unless the sender is dead.
func (t *calledTarget) deliver(c notifier.Changes, trouble string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.dead {
		return errDead
	}
	t.app.Notified(c.Generation)
	switch trouble {
	case targetSilent:
		return notifier.Failf("lost", "the answer is lost")
	case targetKills:
		t.life.kill(t.name + " was notified")
	}
	return nil
}
