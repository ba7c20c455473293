package simulation

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/notifier"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
	"github.com/secret-sync/secret-sync/writer/mount"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// life is one process of the program. Once it is dead nothing that it does reaches
// the world.
type life struct {
	*world
	number int
	dead   bool          // guarded by mu
	killed chan struct{} // closed when it is
	failed bool          // it could not read something
	blind  bool          // it could not read what targets were notified of; guarded by mu

	reread func() // as SIGHUP does; nil until it runs; guarded by mu
	stop   func() // as SIGTERM does
}

var errDead = errors.New("the process is dead")

// kill ends it at once, as SIGKILL does. mu is held.
func (l *life) kill(why string) {
	if l == nil || l.dead {
		return
	}
	l.tracef("life %d is killed: %s", l.number, why)
	l.dead, l.deadly = true, false
	close(l.killed)
}

// supervise starts the program again and again, as the kubelet does.
func (w *world) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.live(ctx)
		var pause time.Duration
		w.locked(func() {
			w.life = nil
			pause = time.Duration(w.dice("pause") * float64(10*time.Second))
			w.tracef("life %d has ended: %v", w.lives, err)
			if errors.Is(err, writer.ErrUnusable) {
				w.operate()
			}
		})
		w.sleep(ctx, pause)
	}
}

// live is one life, from the start to its end.
func (w *world) live(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &life{world: w, killed: make(chan struct{}), stop: stop}
	w.locked(func() {
		w.lives++
		l.number, w.life = w.lives, l
		l.blind = w.believe() // without ..data it may take the volume for an empty one
		w.tracef("life %d begins", l.number)
	})
	p, err := l.assemble()
	if err != nil {
		return err
	}
	w.locked(func() { l.reread = func() { p.watcher.Reread(); p.writer.Recheck() } })
	go func() {
		select {
		case <-l.killed:
			stop()
		case <-ctx.Done():
		}
	}()
	return errors.Join(p.run(ctx), p.writer.Close())
}

// parts are the rooms, as package main joins them.
type parts struct {
	writer   *writer.Writer
	watcher  *watcher.Watcher
	notifier *notifier.Notifier
	pipeline *pipeline.Pipeline
}

// assemble makes them, with a volume and apps in memory.
func (l *life) assemble() (parts, error) {
	var targets []notifier.Target
	for _, t := range l.targets {
		targets = append(targets, notifier.Target{Name: t.name, Notify: (&calledTarget{t, l}).Notify})
	}
	inMemory := func(string) (mount.Volume, error) { return newHandle(l.world, l), nil }
	return l.assembleOn("/secrets", inMemory, targets)
}

// assembleOn makes them with any volume, nil for a mount.
func (w *world) assembleOn(dir string, open func(string) (mount.Volume, error), targets []notifier.Target) (p parts, err error) {
	log := w.logger()
	poke := func() {}
	p.writer, err = writer.Open(writer.Options{
		Dir: dir, Flat: w.flat, FileMode: 0o644, Logger: log, Volume: open, Repaired: func() { poke() },
	})
	if err != nil {
		return p, err
	}
	p.watcher, err = watcher.New(watcher.Options{
		Config: &rest.Config{Host: "http://api", Dial: w.server.dial}, Namespace: namespace,
		Names: []string{required, optional}, Selector: labelKey + "=" + labelValue, Settle: w.settle, Logger: log,
	})
	if err != nil {
		return p, err
	}
	p.notifier = notifier.New(notifier.Options{Targets: targets, Volume: volume{p.writer}, NotifyFirst: w.notifyFirst, Logger: log, Report: func(string, error) {}})
	poke = p.notifier.Poke
	p.pipeline = pipeline.New(pipeline.Options{
		Layout: layout.Options{
			Flat: w.flat, Required: []string{required}, Optional: []string{optional}, Selector: true,
			RequiredKeys: map[string][]string{required: {required + "-a"}},
		},
		Remove: w.remove, Source: p.watcher, Volume: p.writer, Observer: observer{p.notifier}, Logger: log,
	})
	return p, nil
}

func (p parts) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { defer cancel(); return p.pipeline.Run(ctx) })
	group.Go(func() error { return p.watcher.Run(ctx) })
	group.Go(func() error { return p.writer.Run(ctx) })
	group.Go(func() error { return p.notifier.Run(ctx) })
	return group.Wait()
}

// volume is the writer as the notifier sees it.
type volume struct{ *writer.Writer }

func (v volume) ChangesSince(generation uint64) notifier.Changes {
	return notifier.Changes(v.Writer.ChangesSince(generation))
}

// observer notifies, and has no metrics.
type observer struct{ *notifier.Notifier }

func (o observer) Published(uint64, []string, time.Duration) { o.Poke() }
func (observer) PublishFailed(string)                        {}
func (observer) Refused(layout.Refusal)                      {}
func (observer) Seen(map[string]pipeline.Observed)           {}

// What becomes of a call on the volume.
const (
	killBefore = "; killed before it"
	killAfter  = "; killed after it"
	notDone    = "; it fails and does nothing"
	done       = "; it fails and is done all the same"
	noSpace    = "; there is no space"
)

// What is wrong with the file system while a fault lasts.
const (
	diskFails  = "some calls fail"
	diskBroken = "most calls fail"
	diskFull   = "full"
	diskReads  = "some reads fail"
)

var diskFaults = []string{diskFails, diskBroken, diskFull, diskReads}

// looks are the calls that change nothing.
var looks = map[string]bool{"lstat": true, "readlink": true, "readdir": true, "read": true}

// fault decides what becomes of a call. mu is held.
func (l *life) fault(op, name string) string {
	if !l.deadly && l.diskFault == "" {
		return ""
	}
	name = l.plain(name)
	if looks[op] {
		if l.diskFault == diskReads && l.dice("look", op, name) < 0.05 && (l.reread != nil || !l.failed) {
			l.misread(op, name)
			return syscall.EIO.Error()
		}
		return ""
	}
	if l.deadly && l.dice("kill", op, name) < 0.03 {
		return either(l.dice("killed", op, name), killBefore, killAfter)
	}
	switch l.diskFault {
	case diskFull:
		if op == "create" || op == "write" || op == "mkdir" || op == "symlink" {
			return noSpace
		}
	case diskFails, diskBroken:
		share := 0.05
		if l.diskFault == diskBroken {
			share = 0.6
		}
		if l.dice("fail", op, name) < share {
			return either(l.dice("failed", op, name), notDone, done)
		}
	}
	return ""
}

// misread notes what a life does not know because it could not read it. At its start
// there is one such fault at most: who finds half of a volume only is lost. mu is held.
func (l *life) misread(op, name string) {
	l.failed = true
	if op != "read" {
		return
	}
	l.blind = l.blind || name == plan.NotifiedFile
	if strings.HasSuffix(name, ".json") && name != plan.NotifiedFile {
		l.reader.lose() // the record is rebuilt; a flat one cannot be
		l.reader.unread = l.reader.parsed
	}
}

func either(dice float64, a, b string) string {
	if dice < 0.5 {
		return a
	}
	return b
}
