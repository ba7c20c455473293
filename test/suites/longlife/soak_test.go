package longlife

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

var (
	soakFor  = flag.Duration("soak", 2*time.Minute, "the duration of TestSoak")
	soakSeed = flag.Uint64("seed", 0, "the seed of TestSoak; 0 selects and prints a new seed")
)

// TestSoak runs two sidecars through the events of a seed: faults of the network and of the
// API server, changes of named and selected Secrets, harm in the volumes, new tokens,
// restarts of the API server and of the app, and kill -9 of one sidecar. The other sidecar
// runs all the time. The invariants are checked all the time. At the end the files must
// equal the Secrets, and this other sidecar must not use more memory,
// descriptors, goroutines and inotify watches than early in its life. To run it longer, or
// again:
//
//	go test -C test ./suites/longlife -run Soak -v -soak 1h -timeout 90m -seed N
func TestSoak(t *testing.T) {
	seed := *soakSeed
	for seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d -soak %s", seed, *soakFor)
	k := newSoak(t, rand.New(rand.NewPCG(seed, 0)))
	stops := []func() int{watch(t, k.Dir), watch(t, k.old.Dir)}
	began := time.Now()
	k.stepUntil(began.Add(min(*soakFor/2, time.Minute)))
	early := k.measure()
	k.stepUntil(began.Add(*soakFor))
	late := k.measure()
	t.Logf("%d steps: %v", k.steps, k.done)
	t.Logf("early %+v", early)
	t.Logf("late  %+v", late)
	if err := late.compare(early); err != nil {
		t.Error(err)
	}
	for _, stop := range stops {
		if n := stop(); n == 0 {
			t.Error("the files were never read")
		} else {
			t.Logf("%d reads: every generation was complete and not older than the one before", n)
		}
	}
	k.run.Stop()
	k.old.run.Stop()
}

// stepUntil makes steps until the given time.
func (k *soak) stepUntil(end time.Time) {
	for time.Now().Before(end) && !k.t.Failed() {
		k.step()
		pace := time.After(time.Duration(k.rand.IntN(150)) * time.Millisecond)
		<-pace
	}
}

// patience is longer than for a single fault: the removal of the last Secret takes 5 s
// more, and the detection of a dead connection after a freeze 15 s.
const patience = 30 * time.Second

// A soak is the state of a run. All decisions come from rand.
type soak struct {
	*st.Scene
	t       *testing.T
	route   *faultproxy.Route
	run     *st.Run
	old     *longLife // never killed
	rand    *rand.Rand
	counter int // the last written value
	steps   int
	done    map[string]int
	pending func()    // ends the current fault
	renewed time.Time // the time of the last new token
}

func newSoak(t *testing.T, random *rand.Rand) *soak {
	s, r := faultproxy.New(t, st.Env{
		"SECRETSYNC_SECRETS": "named0", "SECRETSYNC_OPTIONAL_SECRETS": "named1,named2",
		"SECRETSYNC_SELECTOR":  "soak=yes",
		"SECRETSYNC_ON_DELETE": "remove",
	})
	k := &soak{Scene: s, t: t, route: r, rand: random, done: map[string]int{}, renewed: time.Now()}
	k.setAll()
	k.run = s.Start(nil)
	k.old = newLongLife(t, s)
	testsupport.Eventually(t, "the start", k.equal)
	return k
}

// setAll changes every Secret.
func (k *soak) setAll() {
	for _, name := range soakSecrets {
		k.set(name, true)
	}
}

var soakSecrets = []string{"named0", "named1", "named2", "picked0", "picked1", "picked2", "picked3"}

// step makes one change. Expensive changes are rare.
func (k *soak) step() {
	k.steps++
	if time.Since(k.renewed) > time.Minute {
		k.renewed = time.Now()
		k.note("renew the token")
		k.renew()
	}
	name := soakSecrets[k.rand.IntN(len(soakSecrets))]
	switch dice := k.rand.IntN(200); {
	case dice < 110:
		k.note("change")
		k.set(name, k.rand.IntN(8) > 0)
	case dice < 125 && name != "named0": // named0 is required
		k.note("delete")
		_ = k.Secrets().Delete(k.t.Context(), name, metav1.DeleteOptions{}) // may be missing
	case dice < 155:
		k.fault()
	case dice < 185:
		k.endFault()
	case dice < 190:
		k.note("kill -9 the sidecar")
		k.run.Kill()
		k.run = k.Start(nil)
	case dice < 192:
		k.note("restart the app")
		k.old.restartApp()
	case dice < 196:
		k.harm()
	case dice < 198:
		k.note("restart the API server")
		st.ControlPlane().StopAPIServer()
		if err := st.ControlPlane().StartAPIServer(k.t.Context()); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *soak) note(what string) { k.done[what]++ }

// set writes a new value to two keys of a Secret, with or without the label. The value is
// sometimes large.
func (k *soak) set(name string, label bool) {
	k.counter++
	value := fmt.Sprintf("%08d", k.counter)
	data := files{"a": value, "b": value}
	if k.rand.IntN(20) == 0 {
		data["large"] = fmt.Sprintf("%0300000d", k.counter)
	}
	var labels []string
	if label {
		labels = append(labels, "soak=yes")
	}
	k.SetSecret(name, data, labels...)
}

// fault ends the current fault and begins another.
func (k *soak) fault() {
	k.endFault()
	w, g := k.route.Wire, k.route.Gateway
	kinds := []struct {
		name       string
		begin, end func()
	}{
		{"refuse", w.Refuse, w.Listen},
		{"reset", w.Reset, func() {}},
		{"freeze", w.Freeze, w.Thaw},
		{"cut", func() { w.Cut(1 + k.rand.IntN(200_000)) }, func() { w.Cut(0) }},
		{"end all watches", g.EndAll, func() {}},
		{"401", func() {
			g.SetAnswer(faultproxy.Respond(401, "application/json", faultproxy.Status(401, "Unauthorized"), ""))
		}, func() { g.SetAnswer(nil) }},
		{"410", func() {
			g.SetAnswer(faultproxy.Respond(410, "application/json", faultproxy.Status(410, "Expired"), ""))
		}, func() { g.SetAnswer(nil) }},
		{"429", func() {
			g.SetAnswer(faultproxy.Respond(429, "application/json", faultproxy.Status(429, "TooManyRequests"), "1"))
		}, func() { g.SetAnswer(nil) }},
		{"503", func() { g.SetAnswer(faultproxy.Respond(503, "text/html", "<html>", "")) },
			func() { g.SetAnswer(nil) }},
		{"half", func() { g.SetAnswer(faultproxy.Half) }, func() { g.SetAnswer(nil) }},
		{"watches end", func() { g.SetAnswer(faultproxy.WatchesEnd) }, func() { g.SetAnswer(nil) }},
	}
	kind := kinds[k.rand.IntN(len(kinds))]
	k.note(kind.name)
	kind.begin()
	k.pending = kind.end
}

// endFault ends the current fault.
func (k *soak) endFault() {
	if k.pending != nil {
		k.pending()
		k.pending = nil
	}
}

// equal compares the files in both volumes with the Secrets.
func (k *soak) equal() error {
	all, err := k.Secrets().List(k.t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	want := files{}
	for _, s := range all.Items {
		if s.Labels["soak"] != "yes" && s.Name[:5] != "named" {
			continue
		}
		for key, value := range s.Data {
			want[s.Name+"/"+key] = string(value)
		}
	}
	return errors.Join(k.CheckFiles(want), k.old.CheckFiles(want))
}
