//go:build programs

package programs

import (
	"errors"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A round is a rotation. The sidecar may be killed before it, or within a time after it.
type round struct {
	burst        bool // a second rotation within 50 ms
	before       bool
	within, from time.Duration
}

// rounds are the rotations of a trial. The sidecar is killed in six of them.
var rounds = []round{
	{}, {before: true}, {burst: true}, {within: 15 * time.Millisecond},
	{from: 10 * time.Millisecond, within: 50 * time.Millisecond},
	{}, {before: true}, {burst: true}, {within: 15 * time.Millisecond},
	{from: 10 * time.Millisecond, within: 50 * time.Millisecond},
}

// A measurement is the result of a trial.
type measurement struct {
	Version       string  // of the program
	Used          int     // rotations after which the program used the new version
	Median        float64 // seconds until then
	Ends          int64   // of the program
	Notifications int
}

// TestPrograms notifies every program of the table in each of its ways.
func TestPrograms(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		for _, p := range programs {
			for _, w := range p.ways {
				t.Run(p.name+" "+w.name(), func(t *testing.T) {
					t.Parallel()
					newTrial(t, p, w).run()
				})
			}
		}
	})
	updateMeasurements(t)
}

func (tr *trial) run() {
	tr.T.Helper()
	switch tr.way.want {
	case reloads, restarts, follows:
		tr.rotations()
	case replaces:
		tr.successors()
	case nothing:
		tr.keepsOld()
	case ends:
		tr.endsTwice()
	case refused:
		tr.isRefused()
	}
}

// rotations rotates ten times. The program must use each new version.
func (tr *trial) rotations() {
	tr.T.Helper()
	r := podtest.Random(tr.T)
	var took []time.Duration
	n := int64(1)
	for _, round := range rounds {
		if round.before {
			tr.killSidecar()
		}
		if n++; round.burst {
			tr.rotate(n)
			<-time.After(podtest.UpTo(r, 50*time.Millisecond))
			n++
		}
		began := time.Now()
		tr.rotate(n)
		if round.within > 0 {
			<-time.After(round.from + podtest.UpTo(r, round.within-round.from))
			tr.killSidecar()
		}
		tr.waitUsed(n)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	ended := tr.ended.Load()
	if tr.way.want != restarts && ended > 0 || tr.way.want == restarts && ended < int64(len(rounds)) {
		tr.T.Errorf("%d ends of the program, want its result to be %q", ended, tr.way.want)
	}
	tr.record(measurement{
		Used: len(took), Median: math.Round(10*took[len(took)/2].Seconds()) / 10,
		Ends: ended, Notifications: tr.notifications(),
	})
}

// successors rotates ten times, six times after a kill of the sidecar. Each time a successor takes over, and the old
// process is ended, as its user would end it. The sidecar signals no process twice.
func (tr *trial) successors() {
	tr.T.Helper()
	signaled := map[string]bool{}
	for n := int64(2); n <= 11; n++ {
		if n%5 > 1 {
			tr.killSidecar()
		}
		tr.rotate(n)
		tr.waitUsed(n)
		tr.waitNotified(int(n) - 1)
		all := recipient.FindAllStringSubmatch(tr.sidecar().Log.String(), -1)
		old := all[len(all)-1][1]
		if signaled[old] {
			tr.T.Fatalf("process %s was signaled again instead of its successor", old)
		}
		signaled[old] = true
		<-tr.StartCommand(exec.Command("/bin/kill", "-QUIT", old)).Done()
		testsupport.EventuallyWithin(tr.T, usedWithin, "the end of the old process", func() error {
			if slices.ContainsFunc(tr.Processes(), func(p podtest.Process) bool {
				return fmt.Sprint(p.PID) == old && p.State != "Z"
			}) {
				return errors.New("process " + old + " runs")
			}
			return nil
		})
		st.Throughout(tr.T, time.Second, "the newest version", func() error { return tr.uses(n) })
	}
	tr.record(measurement{Notifications: tr.notifications()})
}

// recipient matches the PID of the signaled process in the log of the sidecar.
var recipient = regexp.MustCompile(`notified the app.*"process":"(\d+) `)

// keepsOld: the program is notified, and uses the old version three seconds later.
func (tr *trial) keepsOld() {
	tr.T.Helper()
	for n := int64(2); n <= 3; n++ {
		before := tr.notifications()
		tr.rotate(n)
		tr.waitNotified(before + 1)
		st.Throughout(tr.T, 3*time.Second, "the old version", func() error {
			if tr.uses(n) == nil {
				return fmt.Errorf("the program uses version %d", n)
			}
			return nil
		})
	}
	if err := tr.uses(1); err != nil || tr.ended.Load() > 0 {
		tr.T.Errorf("version 1 is not in use: %v; %d ends", err, tr.ended.Load())
	}
	tr.record(measurement{Notifications: tr.notifications()})
}

// waitLog waits until the log of the sidecar contains text.
func (tr *trial) waitLog(text string) {
	tr.T.Helper()
	testsupport.EventuallyWithin(tr.T, usedWithin, "the log", func() error {
		return podtest.LogContains(tr.sidecar().Log, text)
	})
}

func (tr *trial) waitNotified(times int) {
	tr.T.Helper()
	testsupport.EventuallyWithin(tr.T, usedWithin, "notified", func() error {
		if got := tr.notifications(); got < times {
			return fmt.Errorf("%d notifications, want %d", got, times)
		}
		return nil
	})
}

// endsTwice: the sidecar withdraws the success after each end, and stops after the second in a row.
func (tr *trial) endsTwice() {
	tr.T.Helper()
	n := int64(2)
	for inARow := 0; inARow < 2; n++ {
		if inARow++; !tr.withdrawn(n) {
			inARow = 0
		}
	}
	tr.waitLog("stopped signaling it after 2 such ends")
	if ends := tr.ended.Load(); ends != n-2 {
		tr.T.Errorf("%d ends after %d signals", ends, n-2)
	}
	tr.record(measurement{Ends: tr.ended.Load(), Notifications: tr.notifications()})
}

// withdrawn rotates, waits for the end of the program, and reports whether the sidecar withdraws the success. It must
// do so if the program ended within survival, so that a slow program needs another rotation. The program must have
// started again before: Puma loses a request to stop during its start.
func (tr *trial) withdrawn(n int64) bool {
	tr.T.Helper()
	tr.waitUsed(n - 1)
	withdrawals := func() int { return tr.sidecar().Log.Count("the app ended after its notification") }
	before, ends := withdrawals(), tr.ended.Load()
	tr.rotate(n)
	tr.waitNotified(int(n) - 1)
	lived := tr.lived(ends)
	for deadline := time.Now().Add(testsupport.Patience); withdrawals() == before; <-time.After(probeInterval) {
		switch {
		case lived >= survival && time.Since(*tr.lastEnd.Load()) > survival:
			return tr.slow(lived)
		case time.Now().After(deadline):
			tr.T.Fatalf("the program ended %v after its notification, which was not withdrawn", lived)
		}
	}
	return true
}

// survival is safely below the time for which a process must survive its signal, which is 3 s.
const survival = 2 * time.Second

// slow counts an end too late for the sidecar, of which a busy machine may cause some, and returns false.
func (tr *trial) slow(lived time.Duration) bool {
	tr.T.Helper()
	tr.T.Logf("the program ended %v after its notification, which is too late for the sidecar", lived)
	if tr.lateEnds++; tr.lateEnds > 5 {
		tr.T.Fatal("the program ends too late again and again")
	}
	return false
}

// lived waits for another end of the program than the given number of ends. It returns the time since the notification.
func (tr *trial) lived(ends int64) time.Duration {
	tr.T.Helper()
	testsupport.EventuallyWithin(tr.T, usedWithin, "the end of the program", func() error {
		if tr.ended.Load() == ends {
			return errors.New("it runs")
		}
		return nil
	})
	all := notifiedAt.FindAllStringSubmatch(tr.sidecar().Log.String(), -1)
	at, err := time.Parse(time.RFC3339Nano, all[len(all)-1][1])
	if err != nil {
		tr.T.Fatal(err)
	}
	return tr.lastEnd.Load().Sub(at)
}

// notifiedAt matches the time of a notification in the log of the sidecar.
var notifiedAt = regexp.MustCompile(`"time":"([^"]+)"[^\n]*notified the app`)

// isRefused: the sidecar sends no signal and says why. The program keeps running.
func (tr *trial) isRefused() {
	tr.T.Helper()
	tr.rotate(2)
	tr.waitLog(tr.way.log)
	if err := tr.uses(1); err != nil || tr.ended.Load() > 0 || tr.notifications() > 0 {
		tr.T.Errorf("version 1 is not in use: %v; %d ends, %d notifications", err, tr.ended.Load(), tr.notifications())
	}
	tr.record(measurement{})
}

// name returns the name of the way in the names of tests.
func (w way) name() string {
	for _, variable := range []string{"EXEC", "WEBHOOK_URL"} {
		if w.env[variable] != "" {
			return strings.ToLower(variable)
		}
	}
	if len(w.env) == 0 {
		return "no notification"
	}
	name := w.env["SIGNAL"]
	if name == "" {
		name = "HUP"
	}
	if w.env["PID_FILE"] != "" {
		name += " by PID file"
	} else {
		name += " to " + w.env["PROCESS"]
	}
	if w.env["SIGNAL_CHECK"] != "" {
		name += " without check"
	}
	return name
}
