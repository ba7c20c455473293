package rollout

import (
	"fmt"
	"syscall"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestWaitVersion_restored restores etcd from a backup. A sidecar without a connection reports a version of the lost
// history. Two other sidecars saw other data in the lost history, at last or before their last data: --changed-from
// with a version of the new history must not succeed by it. Not in parallel: it stops the API server. The sidecars
// share a backup, because each costs two starts of the API server.
func TestWaitVersion_restored(t *testing.T) {
	lost, saw0, saw1 := newLost(t), newSeen(t), newSeen(t)
	backup, err := st.ControlPlane().Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lost.lose(t)
	relabel("0", 1, saw0.scene, saw1.scene)
	saw0.sees(t, saw0.scene) // the backup has interrupted the watch
	saw1.sees(t, saw1.scene)
	relabel("0", 150, saw0.scene, saw1.scene)
	saw0.stop(t, "0")
	saw1.stop(t, "1")
	if err := st.ControlPlane().Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	relabel("1", 75, saw0.scene, saw1.scene)
	before0, before1 := saw0.reused(t), saw1.reused(t)
	relabel("1", 225, saw0.scene, saw1.scene)

	t.Run("no connection", func(t *testing.T) {
		t.Parallel()
		startWait(t, lost.scene, lost.kubeconfig, "--direct", "--timeout", "5s").exits(1,
			"Pod lost: the watch of its sidecar is down")
	})
	t.Run("the sidecar saw 0", func(t *testing.T) { t.Parallel(); saw0.waits(t, before0) })
	t.Run("the sidecar saw 1", func(t *testing.T) { t.Parallel(); saw1.waits(t, before1) })
}

// A lost is a sidecar that loses its connection before the restore, beside a sidecar with a connection.
type lost struct {
	*replica
	scene      *st.Scene
	kubeconfig string
	wire       *st.Wire
}

func newLost(t *testing.T) *lost {
	l := &lost{}
	l.scene, l.kubeconfig = newScene(t)
	newReplica(t, l.scene, "app", nil)
	l.wire = l.scene.Wire()
	l.replica = newReplica(t, l.scene, "lost", nil)
	return l
}

func (l *lost) lose(t *testing.T) {
	l.scene.SetSecret("db", map[string]string{"password": "1"})
	l.wait(t, "1")
	l.sees(t, l.scene) // its watch is up again after the backup
	l.wire.Cut()
}

// A seen is a sidecar that saw the data 0 in the lost history.
type seen struct {
	*replica
	scene      *st.Scene
	kubeconfig string
	lost       secretStatus // the interval in which the sidecar saw the data 0
}

func newSeen(t *testing.T) *seen {
	s := &seen{}
	s.scene, s.kubeconfig = newScene(t)
	s.replica = newReplica(t, s.scene, "app", nil)
	return s
}

// stop stops the sidecar when it has seen the last data of the lost history.
func (s *seen) stop(t *testing.T, last string) {
	s.lost = s.sees(t, s.scene)
	if last != "0" {
		s.scene.SetSecret("db", map[string]string{"password": last})
		s.sees(t, s.scene)
	}
	if err := s.run.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// reused returns the current version, which must be a version of the lost history with the data 0.
func (s *seen) reused(t *testing.T) string {
	version := s.scene.Get("db").ResourceVersion
	if number(version) < number(s.lost.DataSince) || number(version) > number(s.lost.ResourceVersion) {
		t.Fatalf("version %s is not in the interval of %+v, in which the sidecar saw the data 0", version, s.lost)
	}
	return version
}

// waits continues the sidecar and waits for a change since a version.
func (s *seen) waits(t *testing.T, before string) {
	if err := s.run.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.sees(t, s.scene)
	startWait(t, s.scene, s.kubeconfig, "--direct", "--changed-from", before, "--timeout", "3s").exits(1,
		"not known to differ")
	wait := startWait(t, s.scene, s.kubeconfig, "--direct", "--changed-from", s.scene.Get("db").ResourceVersion)
	wait.until("not known to differ")
	s.scene.SetSecret("db", map[string]string{"password": "2"})
	wait.exits(0, "all 1 Pods")
}

// relabel sets the password in each scene, and writes that many versions of each Secret.
func relabel(password string, times int, scenes ...*st.Scene) {
	for i := range times {
		for _, s := range scenes {
			s.SetSecret("db", map[string]string{"password": password}, fmt.Sprint("n=", i))
		}
	}
}
