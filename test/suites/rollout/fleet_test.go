package rollout

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var (
	fleetSize  = flag.Int("fleet", 30, "sidecars of TestFleet")
	rotations  = flag.Int("rotations", 10, "rotations of TestFleet")
	fleetKills = flag.Int("kills", 6, "sidecars that TestFleet kills")
)

// member is a Pod of the fleet. Its sidecar is started again after a kill. Its app
// uses the password it read at the last notification.
type member struct {
	*replica
	password atomic.Value // string: used by the app
	notified atomic.Value // time.Time: of the last answer
	alive    sync.Mutex
}

// TestFleet: each rotation revokes the old password when `wait` succeeds, while sidecars are
// killed, some of them lose their records, and the metadata of the Secret changes. A Pod in
// which nothing has started exists all the time, and the kubelet has reported no container of
// every tenth Pod. No app may use the old password after the success.
//
//	go test -C test ./suites/rollout -run Fleet -fleet 200 -rotations 50 -kills 20 -v
func TestFleet(t *testing.T) {
	s, kubeconfig := newScene(t)
	members := startFleet(t, s)
	newPod(t, s, "unstarted", "", oneSidecar, func(pod *corev1.Pod) {
		pod.Status.InitContainerStatuses = []corev1.ContainerStatus{waitingStatus("secret-sync")}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{waitingStatus("app")}
	})
	kills := killRounds()
	var late []time.Duration
	for n := 1; n <= *rotations; n++ {
		password := fmt.Sprint(n)
		s.SetSecret("db", map[string]string{"password": password})
		var killing sync.WaitGroup
		for range kills[n] {
			killing.Go(func() { members[rand.N(len(members))].restart(t, s) })
		}
		killing.Go(func() { s.SetSecret("db", map[string]string{"password": password}, "rotation="+password) })
		startWait(t, s, kubeconfig, "--direct", "--timeout", "60s", "--start-grace", "300ms").exits(0,
			fmt.Sprintf("all %d Pods", *fleetSize))
		yes := time.Now()
		last := time.Time{}
		for _, m := range members {
			if got := m.password.Load(); got != password {
				t.Errorf("rotation %d: after the yes the app of %s uses %q", n, m.name, got)
			}
			if at := m.notified.Load().(time.Time); at.After(last) {
				last = at
			}
		}
		late = append(late, yes.Sub(last))
		killing.Wait()
	}
	slices.Sort(late)
	t.Logf("%d sidecars, %d rotations, %d kills: the yes came %v after the last app was notified (p50), %v at most",
		*fleetSize, *rotations, *fleetKills,
		late[len(late)/2].Round(time.Millisecond), late[len(late)-1].Round(time.Millisecond))
}

// killRounds says how many sidecars are killed in which rotation.
func killRounds() map[int]int {
	rounds := map[int]int{}
	for range *fleetKills {
		rounds[1+rand.N(*rotations)]++
	}
	return rounds
}

func startFleet(t *testing.T, s *st.Scene) []*member {
	members := make([]*member, *fleetSize)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range members {
		m := &member{replica: &replica{name: fmt.Sprintf("app-%03d", i), dir: testsupport.MemoryDir(t)}}
		m.password.Store("0")
		m.notified.Store(time.Now())
		app := httptest.NewServer(http.HandlerFunc(m.reload))
		t.Cleanup(app.Close)
		address := newAddress()
		members[i] = m
		group.Go(func() error {
			pod := newPod(t, s, m.name, address, oneSidecar, func(pod *corev1.Pod) {
				if i%10 == 1 {
					pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = nil, nil
				}
			})
			m.env = st.Env{
				"SECRETSYNC_DIR": m.dir, "SECRETSYNC_HTTP_ADDR": address + ":29808",
				"POD_NAME": m.name, "POD_UID": string(pod.UID),
				"SECRETSYNC_WEBHOOK_URL": app.URL, "SECRETSYNC_LOG_LEVEL": "warn",
			}
			m.run = s.Start(m.env)
			m.wait(t, "0")
			return nil
		})
	}
	_ = group.Wait()
	return members
}

// reload is the app: it uses the files' current content from now on.
func (m *member) reload(w http.ResponseWriter, _ *http.Request) {
	m.password.Store(m.replica.password())
	m.notified.Store(time.Now())
	w.WriteHeader(http.StatusNoContent)
}

// restart kills the sidecar at some moment, and starts it again as the kubelet does. The record
// of the notifications may be lost in between.
func (m *member) restart(t *testing.T, s *st.Scene) {
	m.alive.Lock()
	defer m.alive.Unlock()
	<-time.After(rand.N(50 * time.Millisecond))
	m.run.Kill()
	if rand.N(3) == 0 {
		_ = os.Remove(filepath.Join(m.dir, "..notified.json"))
	}
	m.run = s.Start(m.env)
}
