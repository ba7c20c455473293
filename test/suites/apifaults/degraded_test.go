package apifaults

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// TestDegraded_silentWatch: a proxy opens watches and delivers no event, or delivers
// everything when the API server ends the watch. A list that finds a change exposes this.
// Then the watch is down, a single line is logged, and changes arrive with the lists. After
// the fault, the first bookmark of the API server ends this state.
func TestDegraded_silentWatch(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultproxy.Answer{
		"silent": faultproxy.WatchesSilent, "buffered": faultproxy.WatchesBuffered,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
			p := newPair(t, s)
			watches := make(chan struct{}, 100)
			r.Gateway.SetAnswer(func(g *faultproxy.Gateway, w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Has("watch") {
					watches <- struct{}{}
				}
				fault(g, w, r)
			})
			for range 2 { // the watches of both sidecars
				<-watches
			}
			p.SetSecret("db", files{"k": "2"})
			signal(t, p, syscall.SIGHUP) // otherwise the list follows after 3 minutes
			p.WaitFiles(files{"db/k": "2"})
			testsupport.EventuallyWithin(t, 10*time.Second, "the fault is noticed",
				func() error { return p.watchUp("0") })
			for _, value := range []string{"3", "4"} {
				p.SetSecret("db", files{"k": value})
				testsupport.EventuallyWithin(t, 25*time.Second, "a change",
					func() error { return p.CheckFiles(files{"db/k": value}) })
				if err := p.watchUp("0"); err != nil {
					t.Errorf("after value %s: %v", value, err)
				}
			}
			r.Gateway.SetAnswer(nil)
			testsupport.EventuallyWithin(t, time.Minute, "recovery", func() error { return p.watchUp("1") })
			p.SetSecret("db", files{"k": "5"})
			p.WaitFiles(files{"db/k": "5"})
			p.checkStates(t, "does not deliver changes")
			p.run.Stop()
			p.other.Stop()
		})
	}
}

// TestDegraded_watchesEndEarly: a proxy ends each watch after 3 s. The watch is down, a
// single line is logged, and changes arrive within 6 s, however long this lasts.
func TestDegraded_watchesEndEarly(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	p := newPair(t, s)
	r.Gateway.SetAnswer(faultproxy.WatchesEndAfter(3 * time.Second))
	testsupport.EventuallyWithin(t, 20*time.Second, "the fault is noticed", func() error { return p.watchUp("0") })
	for i := range 6 {
		value := fmt.Sprint("value ", i)
		p.SetSecret("db", files{"k": value})
		testsupport.EventuallyWithin(t, 6*time.Second, "a change",
			func() error { return p.CheckFiles(files{"db/k": value}) })
	}
	if err := p.watchUp("0"); err != nil {
		t.Error(err)
	}
	r.Gateway.SetAnswer(nil)
	testsupport.EventuallyWithin(t, 25*time.Second, "recovery", func() error { return p.watchUp("1") })
	p.checkStates(t, "repeatedly ends early")
	p.run.Stop()
	p.other.Stop()
}

// TestDegraded_slowLists: each list takes 20 s, longer than the first time limit.
func TestDegraded_slowLists(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.SetSecret("db", files{"k": "1"})
	r.Gateway.SetAnswer(faultproxy.ListsDelayed(20 * time.Second))
	run := s.Start(nil)
	testsupport.EventuallyWithin(t, time.Minute, "the files", func() error { return s.CheckFiles(files{"db/k": "1"}) })
	s.SetSecret("db", files{"k": "2"})
	s.WaitFiles(files{"db/k": "2"})
	run.Stop()
}

// TestDegraded_emptyCA: the CA file is empty at startup, as for a moment in a new Pod. The
// sidecar recovers with a retry after the file is valid.
func TestDegraded_emptyCA(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.SetSecret("db", files{"k": "1"})
	st.Write(t, r.Gateway.CAFile, "")
	run := s.Start(nil)
	run.WaitLog(down)
	if !strings.Contains(run.Log.String(), "x509") {
		t.Errorf("the log does not name the certificate:\n%s", run.Log.Tail(10))
	}
	r.Gateway.Trust(t)
	testsupport.EventuallyWithin(t, faultproxy.Patience, "the files",
		func() error { return s.CheckFiles(files{"db/k": "1"}) })
	run.Stop()
}

// TestDegraded_signals: a stream of SIGHUPs and slow lists do not stop updates.
func TestDegraded_signals(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	p := newPair(t, s)
	r.Gateway.SetAnswer(faultproxy.ListsDelayed(time.Second))
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-time.After(200 * time.Millisecond):
				_ = p.run.Signal(syscall.SIGHUP)
			case <-stop:
				return
			}
		}
	}()
	for i := range 5 {
		value := fmt.Sprint("value ", i)
		p.SetSecret("db", files{"k": value})
		testsupport.EventuallyWithin(t, 8*time.Second, "a change",
			func() error { return p.CheckFiles(files{"db/k": value}) })
	}
	close(stop)
	<-stopped
	p.run.Stop()
	p.other.Stop()
}

func signal(t *testing.T, p *pair, s syscall.Signal) {
	t.Helper()
	if err := p.run.Signal(s); err != nil {
		t.Fatal(err)
	}
}
