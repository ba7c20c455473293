//go:build programs

package processes

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A crash is a sidecar with a single target. The sidecar is killed repeatedly.
type crash struct {
	*podtest.Pod
	target   string
	out      string           // the output of the receiver
	receiver *podtest.Program // the receiver, if the target is a process
	run      *st.Run
	random   *rand.Rand

	checked  int              // the number of checked lines of the receiver
	recorded uint64           // the generation that was last recorded as notified
	values   map[uint64]int64 // generation → value
	// The number of kills before the publish, before the notification, before the record of
	// the notification, and after it.
	fell   [4]int
	locked int
}

// TestSidecar_killed kills the sidecar at random moments of rotations and restarts it. The last
// generation is always notified, never before its files exist. Without a change there is no
// notification.
func TestSidecar_killed(t *testing.T) {
	kills := podtest.Number("PROGRAMS_KILLS", 60)
	for i, target := range []string{"process", "webhook", "exec"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			c := newCrash(t, target)
			for range (kills + i) / 3 {
				c.round()
			}
			c.up()
			c.run.Stop()
			t.Logf("killed: %d before the publish, %d before the app was notified, %d before that was recorded, "+
				"%d later; %d times the lock was still held", c.fell[0], c.fell[1], c.fell[2], c.fell[3], c.locked)
		})
	}
}

func newCrash(t *testing.T, target string) *crash {
	c := &crash{
		target: target,
		out:    filepath.Join(testsupport.MemoryDir(t), "out"),
		random: podtest.Random(t),
		values: map[uint64]int64{},
	}
	program, addr, env := podtest.Called(
		t,
		podtest.CompileGo(t, "receiver"),
		"notified-app",
	), "", st.Env{
		"SECRETSYNC_PROCESS_MIN_AGE": "100ms",
	}
	switch target {
	case "process":
		env["SECRETSYNC_PROCESS"] = "notified-app"
	case "webhook":
		addr = childprocess.FreeAddr(t)
		env["SECRETSYNC_WEBHOOK_URL"] = "http://" + addr + "/reload"
	}
	c.Pod = podtest.New(t, env)
	if target == "exec" {
		command, err := json.Marshal([]string{program, "exec", c.out, c.Dir})
		if err != nil {
			t.Fatal(err)
		}
		c.Env["SECRETSYNC_EXEC"] = string(command)
	}
	c.run = c.Start(nil)
	c.run.WaitReady()
	c.recorded, c.values[1] = 1, 0
	switch target {
	case "process":
		c.receiver = c.StartProgram(program, "hup", c.out, c.Dir)
		c.receiver.WaitReady("ready")
	case "webhook":
		c.StartProgram(program, "serve", c.out, c.Dir, addr)
	}
	return c
}

// round rotates up to three times, kills the sidecar in the meantime, restarts it and checks
// the events of the receiver.
func (c *crash) round() {
	c.T.Helper()
	rotated := make(chan error, 1)
	pauses := make([]time.Duration, 1+c.random.IntN(3))
	for i := range pauses {
		pauses[i] = podtest.UpTo(c.random, 15*time.Millisecond)
	}
	go func() { rotated <- c.rotateAfter(pauses) }()
	<-time.After(podtest.UpTo(c.random, 40*time.Millisecond))
	c.run.Kill()
	c.note()
	kills := 1
	if c.random.IntN(3) == 0 { // another kill during the start, with a pending notification
		c.run = c.Start(nil)
		<-time.After(podtest.UpTo(c.random, 120*time.Millisecond))
		c.run.Kill()
		kills++
	}
	c.run = c.Start(nil)
	if err := <-rotated; err != nil {
		c.T.Fatal(err)
	}
	c.waitRecorded()
	c.fence()
	c.check(kills)
	if c.random.IntN(4) == 0 { // no change: the check of the next round detects a notification
		c.run.Kill()
		c.run = c.Start(nil)
		c.up()
	}
}

func (c *crash) rotateAfter(pauses []time.Duration) error {
	for _, d := range pauses {
		<-time.After(d)
		if _, err := c.Rotate(); err != nil {
			return err
		}
	}
	return nil
}

// waitRecorded waits until the newest value is published, notified, and recorded as notified.
func (c *crash) waitRecorded() {
	c.T.Helper()
	testsupport.EventuallyWithin(c.T, podtest.NotifiedWithin, "notified of the last generation", func() error {
		c.restart()
		all, err := c.lines()
		if err != nil {
			return err
		}
		n, record := c.Last(), c.record()
		if !slices.ContainsFunc(all, func(s seen) bool { return s.Value == n }) {
			return fmt.Errorf("the receiver saw %v, want the value %d", all[max(0, len(all)-3):], n)
		}
		if newest := c.newest(); newest == 0 || record != newest {
			return fmt.Errorf("generation %d, recorded as notified %d", newest, record)
		}
		if c.target == "exec" && c.Has("notified-app") { // started by a killed sidecar
			return errors.New("a command still runs")
		}
		return nil
	})
}

// fence waits until the receiver has handled its pending signals. The signal of a killed
// sidecar may arrive after the signal of the next sidecar.
func (c *crash) fence() {
	c.T.Helper()
	if c.target != "process" {
		return
	}
	passed := strings.Count(c.receiver.Log.String(), "fence")
	if err := c.receiver.Signal(syscall.SIGUSR1); err != nil {
		c.T.Fatal(err)
	}
	times(c.T, c.receiver.Log, "fence", passed+1)
}

// up waits until the watch of the sidecar is connected.
func (c *crash) up() {
	c.T.Helper()
	testsupport.Eventually(c.T, "the watch", func() error {
		c.restart()
		return podtest.LogContains(c.run.Log, "watch connected")
	})
}

// restart restarts a sidecar after it found the volume locked, like the kubelet. If a sidecar
// is killed while it starts a command, the command holds the lock until the kernel has replaced
// the program.
func (c *crash) restart() {
	select {
	case <-c.run.Done():
		if err := podtest.LogContains(c.run.Log, "another process has locked"); err != nil {
			c.T.Fatalf("the sidecar ended: %s: %v", c.run.State(), err)
		}
		c.locked++
		c.run = c.Start(nil)
	default:
	}
}
