package apifaults

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// The tests of this file have the servers for themselves: those that are
// parallel run after them.

// TestAPIServerKilled: kill -9 and a new start at the same address.
func TestAPIServerKilled(t *testing.T) {
	p := newPair(t, st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"}))
	st.ControlPlane().StopAPIServer()
	st.Until(t, "the fault is seen", func() error { return p.watchUp("0") })
	p.endure(t)
	if err := st.ControlPlane().StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Put("db", files{"k": "2"})
	p.recover(t, faultproxy.Patience)
	for _, l := range lines(p.run, down) { // a server that starts may refuse what it will allow
		t.Logf("logged: %s", l.Err)
	}
}

// TestEtcdRestored: the versions really go back. What a running sidecar and one
// that was down meanwhile have is what the API server has, and so are later
// changes.
func TestEtcdRestored(t *testing.T) {
	p := newPair(t, st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"}))
	backup, err := st.ControlPlane().Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.Put("db", files{"k": "newer"})
	for i := range 50 {
		p.Put("other", files{"k": strconv.Itoa(i)})
	}
	newer := version(t, p.Scene)
	p.WaitFiles(files{"db/k": "newer"})
	st.UntilIn(t, faultproxy.Patience, "files", func() error { return p.spare.CheckFiles(files{"db/k": "newer"}) })
	p.other.Stop()
	if err := st.ControlPlane().Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if older := version(t, p.Scene); older >= newer {
		t.Fatalf("version %d after the restore, %d before: it did not go back", older, newer)
	}
	began := time.Now()
	st.UntilIn(t, faultproxy.Patience, "what was restored", func() error { return p.CheckFiles(files{"db/k": "1"}) })
	t.Logf("right %v after the API server was", time.Since(began).Round(time.Millisecond))
	p.other = p.spare.Start(nil)
	p.spare.WaitFiles(files{"db/k": "1"})
	p.Put("db", files{"k": "2"})
	p.recover(t, faultproxy.Patience)
}

// version is what a consistent read answers.
func version(t *testing.T, s *st.Scene) (v uint64) {
	t.Helper()
	st.Until(t, "a list", func() error {
		list, err := s.Secrets().List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if v, err = strconv.ParseUint(list.ResourceVersion, 10, 64); err != nil {
			return fmt.Errorf("version: %w", err)
		}
		return nil
	})
	return v
}
