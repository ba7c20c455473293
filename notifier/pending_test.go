package notifier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sequenceLength is the number of steps of each enumerated sequence.
const sequenceLength = 6

// A step is an event in the life of a pending notification. After each step, enough
// time passes for the notifier to react to it.
type step string

const (
	publish          step = "publish"            // publish a generation and poke the notifier
	publishThenKill  step = "publish, kill"      // publish a generation and kill the sidecar before the poke
	kill             step = "kill"               // kill the sidecar with SIGKILL
	killBeforeRecord step = "kill before record" // kill the sidecar after the next Notify, before its record
	restart          step = "restart"            // start the sidecar
	appFails         step = "app fails"          // Notify fails from now on
	appRecovers      step = "app recovers"       // Notify succeeds from now on
	diskFills        step = "disk fills"         // no record can be written from now on
	diskHasSpace     step = "disk has space"     // records can be written from now on
)

var allSteps = []step{publish, publishThenKill, kill, killBeforeRecord, restart, appFails, appRecovers, diskFills,
	diskHasSpace}

// A sequence is the steps of a run.
type sequence []step

func (s sequence) String() string {
	var names []string
	for _, each := range s {
		names = append(names, string(each))
	}
	return strings.Join(names, "; ")
}

// A setting is the state of the run. It decides which steps are possible.
type setting struct {
	up, failing, full bool
	mayDie            bool // killBeforeRecord may have ended the sidecar
}

func (s setting) allows(next step) bool {
	switch next {
	case restart:
		return !s.up || s.mayDie
	case kill, publishThenKill, killBeforeRecord:
		return s.up
	case appFails:
		return !s.failing
	case appRecovers:
		return s.failing
	case diskFills:
		return !s.full
	case diskHasSpace:
		return s.full
	}
	return true
}

func (s setting) after(next step) setting {
	switch next {
	case restart:
		s.up = true
	case kill, publishThenKill:
		s.up = false
	case killBeforeRecord:
		s.mayDie = true
	case appFails, appRecovers:
		s.failing = next == appFails
	case diskFills, diskHasSpace:
		s.full = next == diskFills
	}
	return s
}

// enumerate calls run with every possible sequence of sequenceLength steps that begins
// with prefix. Shorter sequences are prefixes of these, and run checks each step.
func enumerate(prefix sequence, s setting, run func(sequence)) {
	if len(prefix) == sequenceLength {
		run(prefix)
		return
	}
	for _, next := range allSteps {
		if s.allows(next) {
			enumerate(append(slices.Clip(prefix), next), s.after(next), run)
		}
	}
}

// TestPending_enumerated runs every sequence of steps. In each, the app is notified of the
// newest generation, in order, and twice only if a crash explains the repetition.
func TestPending_enumerated(t *testing.T) {
	for _, notifyFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("NotifyFirst=%v", notifyFirst), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				runs := 0
				enumerate(nil, setting{}, func(steps sequence) {
					runs++
					runSequence(t, notifyFirst, steps)
				})
				t.Logf("%d sequences", runs)
			})
		})
	}
}

// A scenario is a run of a sequence.
type scenario struct {
	t           *testing.T
	notifyFirst bool
	steps       sequence
	current     step
	disk        *disk
	app         *fakeApp

	life     *life // nil while the sidecar is down
	notifier *Notifier
	stop     func()
	died     *bool // set after the armed Notify killed the sidecar

	skipped      uint64 // generation that counted as notified at the first start
	excused      int    // repetitions explained by a crash
	checkedCalls int
}

func runSequence(t *testing.T, notifyFirst bool, steps sequence) {
	s := &scenario{t: t, notifyFirst: notifyFirst, steps: steps, disk: newDisk(0), app: &fakeApp{name: "app"}}
	defer s.kill()
	for _, next := range slices.Concat(steps, sequence{appRecovers, diskHasSpace, restart}) { // works
		s.current = next
		s.do(next)
		s.wait()
		s.check()
	}
	s.checkNotified()
}

// wait lets more time pass than the longest backoff.
func (s *scenario) wait() {
	time.Sleep(2 * backoffMax)
	synctest.Wait()
	if s.died != nil && *s.died {
		s.died = nil
		s.excused++
		s.kill()
	}
}

func (s *scenario) do(next step) {
	switch next {
	case publish:
		s.disk.publish()
		if s.notifier != nil {
			s.notifier.Poke()
		}
	case publishThenKill:
		s.disk.publish()
		s.kill()
	case kill:
		s.kill()
	case killBeforeRecord:
		s.killAtNextSuccess()
	case restart:
		s.start()
	case appFails:
		s.app.set(func(a *fakeApp) { a.err = context.DeadlineExceeded })
	case appRecovers:
		s.app.set(func(a *fakeApp) { a.err = nil })
	case diskFills, diskHasSpace:
		s.disk.set(func(d *disk) { d.full = next == diskFills })
	}
}

// killAtNextSuccess kills the sidecar when Notify succeeds, before the record is written.
func (s *scenario) killAtNextSuccess() {
	if s.life == nil {
		return
	}
	life, died := s.life, false
	s.died = &died
	s.app.set(func(a *fakeApp) {
		a.observe = func(err error) {
			if err == nil {
				died = true
				life.die()
			}
		}
	})
}

func (s *scenario) start() {
	if s.notifier != nil {
		return
	}
	if _, known := s.disk.records["app"]; !known { // at a later start only if no record could be written
		s.skipped = s.disk.newest
		if s.skipped == 0 && !s.notifyFirst {
			s.skipped = 1
		}
	}
	s.life = &life{disk: s.disk}
	s.notifier, s.stop = start(s.t, Options{Targets: []Target{s.app.target()}, Volume: s.life,
		NotifyFirst: s.notifyFirst})
}

// kill ends the sidecar. From now on it changes nothing on the disk.
func (s *scenario) kill() {
	if s.notifier == nil {
		return
	}
	s.life.die()
	s.app.set(func(a *fakeApp) { a.observe = nil })
	if s.disk.full {
		s.excused++ // the last notification may have no record
	}
	s.stop()
	s.notifier, s.life, s.died = nil, nil, nil
}

// check verifies the conditions that hold after every step.
func (s *scenario) check() {
	s.t.Helper()
	calls := s.app.notified()
	if !slices.IsSorted(calls) {
		s.fatalf("notified of an older generation after a newer generation: %v", calls)
	}
	if repeated := len(calls) - len(slices.Compact(slices.Clone(calls))); repeated > s.excused {
		s.fatalf("notified twice without a crash between Notify and the record: %v", calls)
	}
	if n := len(calls); n > 0 && calls[n-1] > s.disk.newest {
		s.fatalf("notified of %d, the newest is %d", calls[n-1], s.disk.newest)
	}
	if added := len(calls) - s.checkedCalls; added > 1 {
		s.fatalf("%d notifications for a single step: %v", added, calls)
	}
	s.checkedCalls = len(calls)
	if s.notifier != nil && s.app.err == nil && s.notifier.Status()[0].Pending {
		s.fatalf("still pending although the app can be notified")
	}
}

// checkNotified verifies that the app was notified of the newest generation, unless
// this generation counted as notified at the first start.
func (s *scenario) checkNotified() {
	s.t.Helper()
	calls := s.app.notified()
	notified := len(calls) > 0 && calls[len(calls)-1] == s.disk.newest
	if !notified && s.disk.newest > s.skipped {
		s.fatalf("never notified of %d: %v", s.disk.newest, calls)
	}
	if !s.notifyFirst && slices.Contains(calls, 1) {
		s.fatalf("notified of the first generation: %v", calls)
	}
	if got := s.disk.records["app"].Notified; s.disk.newest > 0 && got != s.disk.newest {
		s.fatalf("the record is %d, want %d", got, s.disk.newest)
	}
}

func (s *scenario) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("[%v] at %q: %s", s.steps, s.current, fmt.Sprintf(format, args...))
}
