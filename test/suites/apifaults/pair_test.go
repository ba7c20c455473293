package apifaults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

type files = map[string]string

// A pair is two sidecars in a namespace: the sidecar under test, and a spare sidecar with
// another volume, which is stopped and started during the fault.
type pair struct {
	*st.Scene
	spare      *st.Scene
	run, other *st.Run
	httpAddr   string
}

// newPair starts both sidecars and waits until they have published the Secret db with k=1.
func newPair(t *testing.T, s *st.Scene) *pair {
	s.SetSecret("db", files{"k": "1"})
	second := *s
	second.Dir = testsupport.MemoryDir(t)
	second.Env = st.Env{}
	for k, v := range s.Env {
		second.Env[k] = v
	}
	second.Env["SECRETSYNC_DIR"] = second.Dir
	p := &pair{Scene: s, spare: &second, httpAddr: childprocess.FreeAddr(t)}
	p.run = s.Start(st.Env{"SECRETSYNC_HTTP_ADDR": p.httpAddr})
	p.other = second.Start(nil)
	s.WaitFiles(files{"db/k": "1"})
	second.WaitFiles(files{"db/k": "1"})
	testsupport.Eventually(t, "watch_up", func() error { return p.watchUp("1") })
	return p
}

// watchUp checks the metric of the sidecar under test.
func (p *pair) watchUp(want string) error {
	resp, err := http.Get("http://" + p.httpAddr + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), `secretsync_watch_up{watch="secret/db"} `); ok {
			if value != want {
				return fmt.Errorf("watch_up is %s, want %s", value, want)
			}
			return nil
		}
	}
	return fmt.Errorf("the metric watch_up is missing")
}

// endure checks the invariants during a fault: the last files remain, the sidecar is ready
// and serves metrics, it stops within a second, and it keeps the volume over a restart.
func (p *pair) endure(t *testing.T) {
	t.Helper()
	lastGood := files{"db/k": "1"}
	if err := p.watchUp("0"); err != nil {
		t.Error(err)
	}
	p.other.Stop()
	empty := *p.spare
	empty.Dir = testsupport.MemoryDir(t)
	first := empty.Start(st.Env{"SECRETSYNC_DIR": empty.Dir})
	p.other = p.spare.Start(nil)
	first.WaitLog("started")
	p.other.WaitLog("started")
	for _, s := range []*st.Scene{p.Scene, p.spare} {
		if err := s.CheckFiles(lastGood); err != nil {
			t.Error("during the fault:", err)
		}
		if err := s.Ready(); err != nil {
			t.Error("during the fault:", err)
		}
	}
	if err := empty.CheckFiles(files{}); err != nil {
		t.Error("an empty volume:", err)
	}
	first.Stop()
}

// recover waits until both volumes contain the Secret, which changed during the fault. It
// logs the time.
func (p *pair) recover(t *testing.T, limit time.Duration) {
	t.Helper()
	want, began := files{"db/k": "2"}, time.Now()
	testsupport.EventuallyWithin(t, limit, "the files after the fault", func() error { return p.CheckFiles(want) })
	t.Logf("correct %v after the fault", time.Since(began).Round(time.Millisecond))
	testsupport.EventuallyWithin(t, limit, "the files of the restarted sidecar",
		func() error { return p.spare.CheckFiles(want) })
	testsupport.EventuallyWithin(t, limit, "watch_up", func() error { return p.watchUp("1") })
	p.SetSecret("db", files{"k": "3"})
	p.WaitFiles(files{"db/k": "3"})
	p.run.Stop()
	p.other.Stop()
}

// A line is a line of the log.
type line struct{ Level, Msg, Err, Hint, Rule, Watch string }

// lines returns the lines of the log with this message.
func lines(r *st.Run, message string) (all []line) {
	for text := range strings.Lines(r.Log.String()) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil && l.Msg == message {
			all = append(all, l)
		}
	}
	return all
}

const (
	down  = "watch failed, retrying"
	again = "watch recovered"
	ended = "watch ended"
)

// checkStates checks that the log contains each state once, in this order, and then a
// single line about the recovery. A state is identified by a part of its line.
func (p *pair) checkStates(t *testing.T, states ...string) {
	t.Helper()
	warned := lines(p.run, down)
	ok := len(warned) == len(states)
	for i := 0; ok && i < len(states); i++ {
		ok = warned[i].Level == "WARN" && strings.Contains(warned[i].Err+warned[i].Rule, states[i]) &&
			(warned[i].Hint != "" || states[i] == "Expired")
	}
	if !ok {
		t.Errorf("warnings %+v, want one line for each of %q", warned, states)
	}
	for _, l := range warned {
		t.Logf("logged: %s%s", l.Err, l.Rule)
	}
	if up := lines(p.run, again); len(up) != 1 {
		t.Errorf("%d lines say that the watch recovered, want 1", len(up))
	}
}
