package apifaults

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// The tests in this file are not parallel, because they stop the servers. The parallel
// tests run after them.

// TestAPIServer_killed kills the API server and starts it at the same address.
func TestAPIServer_killed(t *testing.T) {
	p := newPair(t, st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"}))
	st.ControlPlane().StopAPIServer()
	testsupport.Eventually(t, "the sidecar to notice the fault", func() error { return p.watchUp("0") })
	p.endure(t)
	if err := st.ControlPlane().StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.SetSecret("db", files{"k": "2"})
	p.recover(t, faultproxy.Patience)
	for _, l := range lines(p.run, down) { // a starting server may reject valid requests
		t.Logf("logged: %s", l.Err)
	}
}

// TestEtcd_restored: the resource versions go back. A running sidecar and a later
// sidecar publish the restored data, and follow later changes.
func TestEtcd_restored(t *testing.T) {
	p := newPair(t, st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"}))
	backup, err := st.ControlPlane().Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.SetSecret("db", files{"k": "newer"})
	for i := range 50 {
		p.SetSecret("other", files{"k": strconv.Itoa(i)})
	}
	newer := version(t, p.Scene)
	p.WaitFiles(files{"db/k": "newer"})
	testsupport.EventuallyWithin(
		t,
		faultproxy.Patience,
		"the newer value",
		func() error { return p.spare.CheckFiles(files{"db/k": "newer"}) },
	)
	p.other.Stop()
	if err := st.ControlPlane().Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if older := version(t, p.Scene); older >= newer {
		t.Fatalf("version %d after the restore, %d before: want a lower version", older, newer)
	}
	began := time.Now()
	testsupport.EventuallyWithin(t, faultproxy.Patience, "the restored value",
		func() error { return p.CheckFiles(files{"db/k": "1"}) })
	t.Logf("correct %v after the API server was ready", time.Since(began).Round(time.Millisecond))
	p.other = p.spare.Start(nil)
	p.spare.WaitFiles(files{"db/k": "1"})
	p.SetSecret("db", files{"k": "2"})
	p.recover(t, faultproxy.Patience)
}

// version returns the resource version of a consistent read.
func version(t *testing.T, s *st.Scene) (v uint64) {
	t.Helper()
	testsupport.Eventually(t, "a list", func() error {
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
