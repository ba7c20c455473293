package scale

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestSelector_2000Secrets publishes 2,000 Secrets with 10 keys each, changes a single key,
// and restarts. SIGTERM arrives during the first publish, during another publish, and during
// the recovery after a restart. Then it changes the Secrets 10,000 times a minute.
func TestSelector_2000Secrets(t *testing.T) {
	s := newScene(t, 2000, 10, 32, st.Env{"SECRETSYNC_SELECTOR": "scale=yes"})
	s.endDuringPublish("during the first publish")
	s.start()
	s.report("first generation")
	s.changeKeys(5)
	s.check()
	s.end("idle")
	s.endDuringPublish("during a publish")
	s.endDuringRecovery()
	s.start()
	s.report("after a restart")
	s.check()
	s.changeAtRate(2000)
	s.check()
	s.idle()
	s.end("at the end")
}

// TestNames_200Secrets lists 200 Secrets by name. Each uses a watch of its own.
func TestNames_200Secrets(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprint("s", i))
	}
	s := newScene(t, 200, 10, 32, st.Env{"SECRETSYNC_SECRETS": strings.Join(names, ",")})
	s.start()
	s.report("first generation")
	s.changeKeys(5)
	s.check()
	s.end("at the end")
}

// TestLargest_20Secrets uses 20 Secrets of 1 MiB, the limit of the API server.
func TestLargest_20Secrets(t *testing.T) {
	s := newScene(t, 20, 1, 1<<20, st.Env{"SECRETSYNC_SELECTOR": "scale=yes"})
	s.start()
	s.report("first generation")
	s.changeValues(20, 20, 1<<20)
	s.check()
	s.end("at the end")
}

// TestLimits_fiveOf900KB limits the volume and the memory of five Secrets of 900 KB after 20
// changes. Decoding them takes more memory, which the sidecar returns after a second.
func TestLimits_fiveOf900KB(t *testing.T) {
	const mostVolume, mostRSS = 10_000_000, 25_000_000
	s := newScene(t, 5, 1, 900_000, st.Env{"SECRETSYNC_SELECTOR": "scale=yes"})
	s.start()
	s.report("first generation")
	s.changeValues(20, 1, 900_000)
	s.check()
	if size, err := s.size(); err != nil || size > mostVolume {
		t.Errorf("got a volume of %d bytes, %v, want at most %d", size, err, mostVolume)
	}
	testsupport.EventuallyWithin(t, patience, "less memory", func() error {
		if m, _ := s.usage(); m.RSS > mostRSS {
			return fmt.Errorf("RSS %d, want at most %d", m.RSS, mostRSS)
		}
		return nil
	})
	s.report("at the end")
	s.end("at the end")
}

// changeKeys changes a key n times and prints the CPU time of each change.
func (s *scene) changeKeys(n int) {
	s.t.Helper()
	_, before := s.usage()
	for i := range n {
		s.change("s1", fmt.Sprint("changed ", i))
	}
	_, after := s.usage()
	s.t.Logf("a change of a single key: %v of CPU", (after-before)/time.Duration(n))
	s.report("after these changes")
}

// changeValues changes the values of the first Secrets n times, one after the other.
func (s *scene) changeValues(n, secrets, size int) {
	s.t.Helper()
	_, before := s.usage()
	for i := range n {
		s.change(fmt.Sprint("s", i%secrets), value(1000+i, size))
	}
	_, after := s.usage()
	s.t.Logf("a change of a value of %d bytes: %v of CPU", size, (after-before)/time.Duration(n))
	s.report("after these changes")
}

// changeAtRate changes the first keys of n Secrets in turn, at the supported rate.
func (s *scene) changeAtRate(n int) {
	s.t.Helper()
	const perMinute = 10_000
	changes := int(rateFor.Minutes() * perMinute)
	_, before := s.usage()
	generation := s.generation()
	began := time.Now()
	s.parallel(changes, func(i int) error {
		<-time.After(time.Until(began.Add(time.Duration(i) * time.Minute / perMinute)))
		return s.patch(fmt.Sprint("s", i%n), fmt.Sprint("change ", i))
	})
	took := time.Since(began)
	for i := range changes {
		s.want[fmt.Sprintf("s%d/key0", i%n)] = fmt.Sprint("change ", i)
	}
	s.wait()
	_, after := s.usage()
	s.t.Logf("%d changes in %v (%.0f a minute), current after %v: %d generations, %v of CPU",
		changes, took.Round(time.Millisecond), float64(changes)/took.Minutes(),
		time.Since(began).Round(time.Millisecond), s.generation()-generation, after-before)
	s.report("after these changes")
}

// idle prints the CPU time while nothing happens.
func (s *scene) idle() {
	if *idleFor == 0 {
		return
	}
	<-time.After(20 * time.Second) // the last grace period, and the sweep that follows
	_, before := s.usage()
	<-time.After(*idleFor)
	_, after := s.usage()
	s.t.Logf("idle: %v of CPU in %v, %.2f %% of a core", after-before, *idleFor,
		100*(after-before).Seconds()/idleFor.Seconds())
	s.report("after the idle time")
}
