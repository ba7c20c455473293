package apifaults

import (
	"fmt"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

func TestBetween(t *testing.T) {
	t.Parallel()
	for _, f := range faultproxy.Faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
			p := newPair(t, s)
			f.Begin(r)
			p.Put("db", files{"k": "2"})
			began := time.Now()
			st.UntilIn(t, max(f.Seen, 5*time.Second), "the fault is seen", func() error { return p.watchUp("0") })
			t.Logf("seen after %v", time.Since(began).Round(time.Millisecond))
			p.endure(t)
			st.UntilIn(t, time.Minute, "some tries", func() error {
				if got, want := len(lines(p.run, ended)), max(f.Tries, 3); got < want {
					return fmt.Errorf("%d, want %d", got, want)
				}
				return nil
			})
			f.End(r)
			p.recover(t, faultproxy.Patience)
			p.checkStates(t, f.Logs...)
		})
	}
}

// A server that ends each watch at once is asked again with pauses, and what it
// lists is followed.
func TestWatchesEndAtOnce(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	p := newPair(t, s)
	began := time.Now()
	r.Gateway.SetAnswer(faultproxy.WatchesEnd)
	st.Until(t, "the fault is seen", func() error { return p.watchUp("0") })
	p.Put("db", files{"k": "2"})
	st.UntilIn(t, faultproxy.Patience, "what is listed", func() error { return p.CheckFiles(files{"db/k": "2"}) })
	if got, most := len(lines(p.run, ended)), 3+int(time.Since(began).Seconds()); got > most {
		t.Errorf("%d attempts in %v, want %d at most", got, time.Since(began), most)
	}
	r.Gateway.SetAnswer(nil)
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, "repeatedly ends")
}

// A reset that is over at once: nothing but a line in the log, and the change
// that came meanwhile.
func TestResetOnce(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	w := faultproxy.NewWire(t, "")
	faultproxy.Detour(s, w.Address, "")
	p := newPair(t, s)
	w.Reset()
	p.Put("db", files{"k": "2"})
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, "no connection")
}
