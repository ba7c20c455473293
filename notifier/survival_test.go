package notifier

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// A fakeProcess ends or survives a second after its signal.
type fakeProcess struct {
	app      *fakeApp
	ends     bool
	settings string

	checked    int // the notification of the last check
	signaled   time.Time
	remembered string
}

func (p *fakeProcess) Recipient() string { return "7 (app)" }

func (p *fakeProcess) Settings() string { return p.settings }

func (p *fakeProcess) State() string { return fmt.Sprintf("after %d signals", len(p.app.notified())) }

func (p *fakeProcess) Remember(state string) { p.remembered = state }

func (p *fakeProcess) Survived() (bool, error) {
	if n := len(p.app.notified()); n != p.checked {
		p.checked, p.signaled = n, time.Now()
	}
	switch {
	case time.Since(p.signaled) < time.Second:
		return false, nil
	case p.ends:
		return false, Failf("ended", "process 7 (app) ended 1.0 s after SIGHUP")
	}
	return true, nil
}

// A survivalTest is a sidecar with a process as its target.
type survivalTest struct {
	t        *testing.T
	volume   *life
	app      *fakeApp
	process  *fakeProcess
	log      testsupport.Log
	reports  []string
	set      func(*Options) // nil: nothing
	interval time.Duration

	notifier *Notifier
	stop     func()
}

func newSurvivalTest(t *testing.T, ends bool) *survivalTest {
	app := &fakeApp{name: "app"}
	s := &survivalTest{t: t, volume: notifiedOf(1), app: app,
		process: &fakeProcess{app: app, ends: ends, settings: "HUP"}}
	s.start()
	return s
}

func (s *survivalTest) start() {
	target := s.app.target()
	target.Process = s.process
	opts := Options{
		Targets: []Target{target}, Volume: s.volume, Logger: s.log.Logger(slog.LevelInfo),
		Report: func(_ string, err error) { s.reports = append(s.reports, err.Error()) },
	}
	opts.Interval = NewInterval(s.interval)
	s.app.limit = func(uint64) error { return opts.Interval.Signal(7, func() error { return nil }) }
	if s.set != nil {
		s.set(&opts)
	}
	s.notifier, s.stop = start(s.t, opts)
}

func (s *survivalTest) publish() {
	s.volume.publish()
	s.notifier.Poke()
	time.Sleep(time.Minute)
	synctest.Wait()
}

func (s *survivalTest) want(notified []uint64, target state, failed uint64) {
	s.t.Helper()
	if got := s.app.notified(); !slices.Equal(got, notified) {
		s.t.Errorf("notified = %v, want %v", got, notified)
	}
	got := s.notifier.Status()[0]
	got.PendingSince = time.Time{}
	target.Name = "app"
	if target.Successes > 0 {
		target.Recipient = "7 (app)"
	}
	if target.Failed = failed; got != target {
		s.t.Errorf("status = %+v, want %+v", got, target)
	}
}

// TestSurvival_ended: the success is withdrawn, the next generation is signaled once more, and
// after the second end in a row no further generation is. A restart changes nothing.
func TestSurvival_ended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, true)
		s.publish()
		s.want([]uint64{2}, state{Notified: 1, Pending: true, Error: "ended", Successes: 1, Failures: 1}, 1)
		s.stop()
		s.start()
		synctest.Wait()
		s.want([]uint64{2}, state{Notified: 1, Pending: true, Error: "ended", Failures: 1}, 0)
		s.publish()
		s.want([]uint64{2, 3}, state{Notified: 1, Pending: true, Error: "stopped", Successes: 1, Failures: 1}, 1)
		s.publish()
		s.stop()
		s.start()
		s.publish()
		s.want([]uint64{2, 3}, state{Notified: 1, Pending: true, Error: "stopped", Failures: 2}, 0)
		if got := s.log.Count("before a restart of secret-sync"); got != 2 || s.log.Count("2 such ends") != 2 {
			t.Errorf("the restarts are logged %d times, want twice, the second with the stop:\n%s", got, &s.log)
		}
		if len(s.reports) != 2 || !strings.Contains(s.reports[1], "stopped signaling it after 2 such ends") {
			t.Errorf("reports = %q, want 2, the second with the stop", s.reports)
		}
		s.stop()
		s.process.settings, s.process.ends = "USR1", false
		s.start()
		defer s.stop()
		time.Sleep(time.Minute)
		s.want([]uint64{2, 3, 5}, state{Notified: 5, Successes: 1}, 0)
	})
}

// TestSurvival_survived: ends count in a row only.
func TestSurvival_survived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, true)
		defer s.stop()
		for range 3 {
			s.process.ends = true
			s.publish()
			s.process.ends = false
			s.publish()
		}
		s.want([]uint64{2, 3, 4, 5, 6, 7}, state{Notified: 7, Successes: 6}, 3)
		if ends := s.volume.records["app"].Ends; ends != 0 {
			t.Errorf("%d ends are recorded, want 0", ends)
		}
	})
}

// TestSurvival_newerGeneration: the next signal ends the observation without a result.
func TestSurvival_newerGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, false)
		defer s.stop()
		for range 5 {
			s.volume.publish()
			s.notifier.Poke()
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		s.want([]uint64{2, 3, 4, 5, 6}, state{Notified: 6, Successes: 5, Observing: true}, 0)
	})
}

// TestSurvival_stop: the end of the sidecar does not hide the end of the process.
func TestSurvival_stop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, true)
		s.volume.publish()
		s.notifier.Poke()
		synctest.Wait()
		s.process.signaled = time.Now().Add(-time.Minute) // it ends between two checks
		s.stop()
		if got := s.volume.record("app"); got != 1 {
			t.Errorf("record = %d, want 1: the process ended", got)
		}
	})
}

// TestSurvival_newerGenerationFails: an end while the attempts for a newer generation fail withdraws the earlier
// success.
func TestSurvival_newerGenerationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, true)
		s.volume.publish()
		s.notifier.Poke()
		synctest.Wait()
		s.app.set(func(a *fakeApp) { a.err = errors.New("stopped") })
		s.publish()
		s.stop()
		want := notification.TargetRecord{Notified: 1, Ends: 1, Ended: 2, Settings: "HUP",
			Process: "after 1 signals", Previous: 1}
		got := s.volume.records["app"]
		if got != want || len(s.reports) != 2 {
			t.Errorf("record = %+v, reports = %q, want %+v, the failure of generation 3 and the end", got, s.reports,
				want)
		}
	})
}

// TestSurvival_frequentChanges: an app that ends after each signal is signaled twice, however often the Secret changes,
// and however long the splay and the interval are.
func TestSurvival_frequentChanges(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"interval": func(*Options) {},
		"splay":    func(o *Options) { o.Splay = 5 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSurvivalTest(t, true)
				s.stop()
				s.interval, s.set = 2*time.Second, set // the app ends before the interval does
				s.start()
				defer func() { s.stop() }()
				for range 100 {
					s.volume.publish()
					s.notifier.Poke()
					time.Sleep(300 * time.Millisecond)
				}
				if got := s.app.notified(); len(got) != 2 || s.notifier.Status()[0].Error != "stopped" {
					t.Errorf("notified = %v, status %+v, want 2 signals", got, s.notifier.Status())
				}
			})
		})
	}
}

// TestSurvival_restart: a restart of the sidecar does not hide the end of the process.
func TestSurvival_restart(t *testing.T) {
	for _, ends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSurvivalTest(t, ends)
			s.volume.publish()
			s.notifier.Poke()
			synctest.Wait()
			s.stop()
			time.Sleep(time.Minute)
			s.start()
			defer s.stop()
			time.Sleep(time.Minute)
			synctest.Wait()
			want := notification.TargetRecord{Notified: 2, Settings: "HUP", Process: "after 1 signals", Previous: 1}
			if ends {
				want.Notified, want.Ends, want.Ended = 1, 1, 2
			}
			if got := s.volume.records["app"]; got != want || len(s.app.notified()) != 1 {
				t.Errorf("record = %+v, want %+v and 1 signal", got, want)
			}
		})
	}
}

// TestSurvival_observing: until the process has survived, the status shows this.
func TestSurvival_observing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSurvivalTest(t, false)
		defer s.stop()
		s.volume.publish()
		s.notifier.Poke()
		synctest.Wait()
		s.want([]uint64{2}, state{Notified: 2, Successes: 1, Observing: true}, 0)
		time.Sleep(time.Second + observeInterval)
		synctest.Wait()
		s.want([]uint64{2}, state{Notified: 2, Successes: 1}, 0)
	})
}
