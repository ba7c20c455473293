package apifaults

import (
	"fmt"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// TestFaults_betweenSidecarAndServer runs every fault of faultproxy: the volume keeps its
// last state, the log describes the fault once, and the sidecar recovers in time.
func TestFaults_betweenSidecarAndServer(t *testing.T) {
	t.Parallel()
	for _, f := range faultproxy.Faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
			p := newPair(t, s)
			f.Begin(r)
			p.SetSecret("db", files{"k": "2"})
			began := time.Now()
			limit := max(f.Seen, 5*time.Second)
			testsupport.EventuallyWithin(t, limit, "the sidecar to notice the fault",
				func() error { return p.watchUp("0") })
			t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
			p.endure(t)
			testsupport.EventuallyWithin(t, time.Minute, "further attempts", func() error {
				if got, want := len(lines(p.run, ended)), max(f.Tries, 3); got < want {
					return fmt.Errorf("%d attempts, want %d", got, want)
				}
				return nil
			})
			f.End(r)
			p.recover(t, faultproxy.Patience)
			p.checkStates(t, f.Logs...)
		})
	}
}

// TestWatch_endsAtOnce: if the server ends each watch at once, the sidecar pauses between
// attempts and follows the lists.
func TestWatch_endsAtOnce(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	p := newPair(t, s)
	began := time.Now()
	r.Gateway.SetAnswer(faultproxy.WatchesEnd)
	testsupport.Eventually(t, "the sidecar to notice the fault", func() error { return p.watchUp("0") })
	p.SetSecret("db", files{"k": "2"})
	testsupport.EventuallyWithin(t, faultproxy.Patience, "the data of the list",
		func() error { return p.CheckFiles(files{"db/k": "2"}) })
	if got, most := len(lines(p.run, ended)), 3+int(time.Since(began).Seconds()); got > most {
		t.Errorf("%d attempts in %v, want at most %d", got, time.Since(began), most)
	}
	r.Gateway.SetAnswer(nil)
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, "repeatedly ends")
}

// TestConnection_resetOnce: a single reset causes a line in the log and loses no change.
func TestConnection_resetOnce(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	w := faultproxy.NewWire(t, "")
	faultproxy.Detour(s, w.Address, "")
	p := newPair(t, s)
	w.Reset()
	p.SetSecret("db", files{"k": "2"})
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, "no connection")
}
