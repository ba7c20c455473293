package rollout

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var errTooEarly = errors.New("too early")

// TestWaitVersion_changedBack: the data changes during the wait, and changes back.
func TestWaitVersion_changedBack(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.until("webhook is not notified")
	s.SetSecret("db", map[string]string{"password": "0"})
	s.SetSecret("db", map[string]string{"password": "1"})
	r.app.Status.Store(http.StatusOK)
	wait.exits(1, "its data changed after version")
}

// TestWaitVersion_metadata: a change of metadata does not end the wait, and the version of
// the caller's own patch remains valid.
func TestWaitVersion_metadata(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	patched := s.Get("db").ResourceVersion
	r.wait(t, "1")
	wait := startWait(t, s, kubeconfig, "--direct")
	wait.until("webhook is not notified")
	s.SetSecret("db", map[string]string{"password": "1"}, "a=b")
	r.app.Status.Store(http.StatusOK)
	wait.exits(0, "all 1 Pods are on version "+patched)
	startWait(t, s, kubeconfig, "--direct", "--version", patched).exits(0, "all 1 Pods are on version "+patched)

	// A new process does not know whether the data changed in between.
	r.run.Kill()
	r.run = s.Start(r.env)
	startWait(t, s, kubeconfig, "--direct", "--version", patched, "--timeout", "2s").exits(1,
		"no sidecar knows whether the data changed")
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
	s.SetSecret("db", map[string]string{"password": "2"})
	startWait(t, s, kubeconfig, "--direct", "--version", patched, "--timeout", "5s").exits(1)
	startWait(t, s, kubeconfig, "--direct", "--version", "99999999", "--timeout", "5s").exits(1, "does not exist")
}

// TestWaitVersion_gap: a sidecar that listed again after a gap does not know whether the data changed
// in the gap.
func TestWaitVersion_gap(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	wire := s.Wire()
	r := newReplica(t, s, "app", nil)
	before := s.Get("db").ResourceVersion
	wire.Cut()
	s.SetSecret("db", map[string]string{"password": "1"})
	s.SetSecret("db", map[string]string{"password": "0"})
	if err := wire.Mend(); err != nil {
		t.Fatal(err)
	}
	testsupport.EventuallyWithin(t, time.Minute, "the sidecar lists the Secret", func() error {
		if d, err := r.status(); err != nil || d.Secrets["db"].ResourceVersion != s.Get("db").ResourceVersion {
			return fmt.Errorf("got %+v, %v", d, err)
		}
		return nil
	})
	startWait(t, s, kubeconfig, "--direct", "--version", before, "--timeout", "5s").exits(1,
		"no sidecar knows whether the data changed")
	startWait(t, s, kubeconfig, "--direct").exits(0, "all 1 Pods")
}

// TestWaitVersion_changedFrom: the Secret is not written yet when the wait begins.
func TestWaitVersion_changedFrom(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", nil)
	before := s.Get("db").ResourceVersion
	wait := startWait(t, s, kubeconfig, "--direct", "--changed-from", before)
	wait.running(time.Second)
	s.SetSecret("db", map[string]string{"password": "0"}, "a=b")
	wait.running(time.Second)
	s.SetSecret("db", map[string]string{"password": "1"})
	after := s.Get("db").ResourceVersion
	wait.exits(0, "all 1 Pods are on version "+after)
	startWait(t, s, kubeconfig, "--direct", "--changed-from", before).exits(0, "all 1 Pods are on version "+after)
}

// TestWaitVersion_restored: a sidecar without a connection reports a version of a lost
// history. Not in parallel: it stops the API server.
func TestWaitVersion_restored(t *testing.T) {
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", nil)
	wire := s.Wire()
	lost := newReplica(t, s, "lost", nil)
	backup, err := st.ControlPlane().Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", map[string]string{"password": "1"})
	lost.wait(t, "1")
	lost.sees(t, s) // its watch is up again after the backup
	wire.Cut()
	if err := st.ControlPlane().Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	startWait(t, s, kubeconfig, "--direct", "--timeout", "5s").exits(1, "Pod lost: the watch of its sidecar is down")
}

// TestWaitVersion_changedFromRestored: a sidecar saw other data in a history that a restore of etcd has lost, at
// last or before its last data. --changed-from with a version of the new history must not succeed by it. Not in
// parallel: it stops the API server.
func TestWaitVersion_changedFromRestored(t *testing.T) {
	for _, last := range []string{"0", "1"} {
		t.Run("the sidecar saw "+last, func(t *testing.T) { changedFromRestored(t, last) })
	}
}

func changedFromRestored(t *testing.T, last string) {
	s, kubeconfig := newScene(t)
	r := newReplica(t, s, "app", nil)
	backup, err := st.ControlPlane().Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	relabel(s, "0", 1)
	r.sees(t, s) // the backup has interrupted the watch
	relabel(s, "0", 300)
	lost := r.sees(t, s)
	if last != "0" {
		s.SetSecret("db", map[string]string{"password": last})
		r.sees(t, s)
	}
	if err := r.run.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := st.ControlPlane().Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	relabel(s, "1", 150)
	before := s.Get("db").ResourceVersion
	if number(before) < number(lost.DataSince) || number(before) > number(lost.ResourceVersion) {
		t.Fatalf("version %s is not in the interval of %+v, in which the sidecar saw the data 0", before, lost)
	}
	relabel(s, "1", 450)
	if err := r.run.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.sees(t, s)
	startWait(t, s, kubeconfig, "--direct", "--changed-from", before, "--timeout", "3s").exits(1, "not known to differ")
	wait := startWait(t, s, kubeconfig, "--direct", "--changed-from", s.Get("db").ResourceVersion)
	wait.until("not known to differ")
	s.SetSecret("db", map[string]string{"password": "2"})
	wait.exits(0, "all 1 Pods")
}

// relabel sets the password, and writes that many versions.
func relabel(s *st.Scene, password string, times int) {
	for i := range times {
		s.SetSecret("db", map[string]string{"password": password}, fmt.Sprint("n=", i))
	}
}

// sees waits until the sidecar has seen the current version.
func (r *replica) sees(t testing.TB, s *st.Scene) (db secretStatus) {
	t.Helper()
	testsupport.Eventually(t, "the sidecar sees the current version", func() error {
		d, err := r.status()
		if db = d.Secrets["db"]; err != nil || !d.Watches[0].Up || db.ResourceVersion != s.Get("db").ResourceVersion {
			return fmt.Errorf("got %+v, %v", d, err)
		}
		return nil
	})
	return db
}

func number(version string) (n int) {
	n, _ = strconv.Atoi(version)
	return n
}
