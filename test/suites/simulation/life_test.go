package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/test/suites/simulation/program"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// A life is a process of the program. A dead process no longer affects the world.
type life struct {
	*world
	number int
	dead   bool          // guarded by mu
	killed chan struct{} // closed when the process is dead
	failed bool          // a read failed
	blind  bool          // reading the notified generations failed; guarded by mu

	reread func() // the effect of SIGHUP; nil until the program runs; guarded by mu
	stop   func() // the effect of SIGTERM
}

var errDead = errors.New("the process is dead")

// kill ends the process at once, like SIGKILL. mu is held.
func (l *life) kill(why string) {
	if l == nil || l.dead {
		return
	}
	l.tracef("life %d is killed: %s", l.number, why)
	l.dead, l.deadly = true, false
	close(l.killed)
}

// supervise restarts the program whenever it ends, like the kubelet.
func (w *world) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.live(ctx)
		var pause time.Duration
		w.locked(func() {
			w.life = nil
			pause = time.Duration(w.dice.roll("pause") * float64(10*time.Second))
			w.tracef("life %d has ended: %v", w.lives, err)
			if errors.Is(err, volume.ErrUnusable) {
				w.removeForeign()
			}
		})
		w.sleep(ctx, pause)
	}
}

// live runs a process from its start to its end.
func (w *world) live(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &life{world: w, killed: make(chan struct{}), stop: stop}
	w.locked(func() {
		w.lives++
		l.number, w.life = w.lives, l
		l.blind = w.reader.Begin() // without ..data the volume may look empty
		w.tracef("life %d begins", l.number)
	})
	p, err := program.New(w.config, l.outside())
	if err != nil {
		return err
	}
	w.locked(func() { l.reread = p.Reread })
	go func() {
		select {
		case <-l.killed:
			stop()
		case <-ctx.Done():
		}
	}()
	return errors.Join(p.Run(ctx), p.Close())
}

// outside returns the in-memory volume and apps of this life.
func (l *life) outside() program.Outside {
	o := program.Outside{
		Dir: "/secrets", API: l.server, Logger: l.logger(),
		Volume: l.disk.Open(l),
	}
	for _, t := range l.targets {
		o.Targets = append(o.Targets, notifier.Target{Name: t.name, Key: t.name, Notify: (&calledTarget{t, l}).Notify})
	}
	return o
}
