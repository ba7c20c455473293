//go:build programs

package programs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// seen is what the receiver saw when it was notified: a line that it wrote.
type seen struct {
	Notified   uint64 // the generation that it was notified of; 0: a signal, which carries none
	Generation uint64 // what was in the volume
	Value      int64  `json:",string"`
}

// crash is a sidecar that is killed again and again, with one target.
type crash struct {
	*pod
	target   string
	out      string   // what the receiver writes
	receiver *program // of the target process
	run      *st.Run
	random   *rand.Rand

	checked int // how many of the receiver's lines
	settled uint64
	values  map[uint64]int64 // generation → value
	// Where the kills fell: behind the API, published and not notified, notified and not
	// recorded, all done.
	fell   [4]int
	locked int
}

// TestKilledSidecar kills the sidecar at random moments of rotations and starts
// it again: the last generation is always notified, never before its files are
// there, and nobody is notified when nothing changed.
func TestKilledSidecar(t *testing.T) {
	kills := number("PROGRAMS_KILLS", 60)
	for i, target := range []string{"process", "webhook", "exec"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			c := newCrash(t, target)
			for range (kills + i) / 3 {
				c.round()
			}
			c.up()
			c.run.Stop()
			t.Logf("killed: %d before the publish, %d before the app was notified, %d before that was recorded, %d later; "+
				"%d times the lock was still held", c.fell[0], c.fell[1], c.fell[2], c.fell[3], c.locked)
		})
	}
}

func newCrash(t *testing.T, target string) *crash {
	c := &crash{target: target, out: filepath.Join(st.Volume(t), "out"), random: random(t), values: map[uint64]int64{}}
	program, addr, env := called(t, compile(t, "receiver"), "notified-app"), "", st.Env{"SECRETSYNC_PROCESS_MIN_AGE": "100ms"}
	switch target {
	case "process":
		env["SECRETSYNC_PROCESS"] = "notified-app"
	case "webhook":
		addr = st.FreeAddr(t)
		env["SECRETSYNC_WEBHOOK_URL"] = "http://" + addr + "/reload"
	}
	c.pod = newPod(t, env)
	if target == "exec" {
		command, err := json.Marshal([]string{program, "exec", c.out, c.Dir})
		if err != nil {
			t.Fatal(err)
		}
		c.Env["SECRETSYNC_EXEC"] = string(command)
	}
	c.run = c.Start(nil)
	c.run.WaitReady()
	c.settled, c.values[1] = 1, 0
	switch target {
	case "process":
		c.receiver = c.start(program, "hup", c.out, c.Dir)
		c.receiver.waitReady("ready")
	case "webhook":
		c.start(program, "serve", c.out, c.Dir, addr)
	}
	return c
}

// round rotates up to three times, kills the sidecar during that, starts it, and
// checks what the receiver saw.
func (c *crash) round() {
	c.t.Helper()
	rotated := make(chan error, 1)
	pauses := make([]time.Duration, 1+c.random.IntN(3))
	for i := range pauses {
		pauses[i] = upTo(c.random, 15*time.Millisecond)
	}
	go func() { rotated <- c.rotateAfter(pauses) }()
	<-time.After(upTo(c.random, 40*time.Millisecond))
	c.run.Kill()
	c.note()
	kills := 1
	if c.random.IntN(3) == 0 { // and during its start, with a notification pending
		c.run = c.Start(nil)
		<-time.After(upTo(c.random, 120*time.Millisecond))
		c.run.Kill()
		kills++
	}
	c.run = c.Start(nil)
	if err := <-rotated; err != nil {
		c.t.Fatal(err)
	}
	c.settle()
	c.fence()
	c.check(kills)
	if c.random.IntN(4) == 0 { // nothing changed: the next round's check sees who is notified
		c.run.Kill()
		c.run = c.Start(nil)
		c.up()
	}
}

func (c *crash) rotateAfter(pauses []time.Duration) error {
	for _, d := range pauses {
		<-time.After(d)
		if _, err := c.rotate(); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the newest value is published, notified, and recorded as notified.
func (c *crash) settle() {
	c.t.Helper()
	st.UntilIn(c.t, notifiedWithin, "notified of the last generation", func() error {
		c.restart()
		all, err := c.lines()
		if err != nil {
			return err
		}
		n, record := c.n.Load(), c.record()
		if !slices.ContainsFunc(all, func(s seen) bool { return s.Value == n }) {
			return fmt.Errorf("the receiver saw %v, want the value %d", all[max(0, len(all)-3):], n)
		}
		if newest := c.newest(); newest == 0 || record != newest {
			return fmt.Errorf("generation %d, recorded as notified %d", newest, record)
		}
		if c.target == "exec" && c.has("notified-app") { // of a sidecar that was killed
			return errors.New("a command still runs")
		}
		return nil
	})
}

// fence waits until the receiver has dealt with the signals that it has: the one
// of a sidecar that was killed may be behind that of the next one.
func (c *crash) fence() {
	c.t.Helper()
	if c.target != "process" {
		return
	}
	passed := strings.Count(c.receiver.log.String(), "fence")
	if err := c.receiver.Signal(syscall.SIGUSR1); err != nil {
		c.t.Fatal(err)
	}
	times(c.t, c.receiver.log, "fence", passed+1)
}

// up waits until the sidecar has heard of the API.
func (c *crash) up() {
	c.t.Helper()
	st.Until(c.t, "the watch", func() error {
		c.restart()
		return says(c.run.Log, "watch is up")
	})
}

// restart starts a sidecar that found the volume locked, as the kubelet would: a
// command that was being started when its sidecar was killed has the lock until
// the kernel has replaced the program.
func (c *crash) restart() {
	select {
	case <-c.run.Done():
		if err := says(c.run.Log, "another process has locked"); err != nil {
			c.t.Fatalf("the sidecar ended: %s: %v", c.run.State(), err)
		}
		c.locked++
		c.run = c.Start(nil)
	default:
	}
}

// check looks at the lines since the last check. All that are allowed are of
// generations that had not been recorded as notified, each once and once more for a
// sidecar that was killed.
func (c *crash) check(kills int) {
	c.t.Helper()
	all, err := c.lines()
	if err != nil {
		c.t.Fatal(err)
	}
	count := map[uint64]int{}
	for _, s := range all[c.checked:] {
		of := s.Notified
		if c.target == "process" { // a signal does not say
			of = s.Generation
		}
		value, known := c.values[s.Generation]
		count[s.Notified]++
		switch {
		case s.Generation < s.Notified:
			c.t.Errorf("notified before its files were there: %+v", s)
		case of <= c.settled:
			c.t.Errorf("notified of generation %d, when nothing had changed since %d was notified", of, c.settled)
		case known && value != s.Value:
			c.t.Errorf("generation %d has the values %d and %d", s.Generation, value, s.Value)
		}
		c.values[s.Generation] = s.Value
	}
	record := c.record()
	for generation, n := range count {
		most := 1 + kills
		if c.target == "process" { // a signal may have been seen after the next publish
			most = int(record-c.settled) + kills
		}
		if n > most {
			c.t.Errorf("notified %d times of generation %d, with %d kills, after generation %d", n, generation, kills, c.settled)
		}
	}
	c.checked, c.settled = len(all), record
}

// note counts what was done when the sidecar was killed.
func (c *crash) note() {
	last, record := c.newest(), c.record()
	all, _ := c.lines()
	var at uint64
	if len(all) > 0 {
		at = all[len(all)-1].Generation
	}
	switch {
	case last == c.settled:
		c.fell[0]++
	case at < last:
		c.fell[1]++
	case record < last:
		c.fell[2]++
	default:
		c.fell[3]++
	}
}

func (c *crash) lines() (all []seen, err error) {
	text, err := os.ReadFile(c.out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		var s seen
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		all = append(all, s)
	}
	return all, err
}

// newest is the generation in the volume.
func (c *crash) newest() uint64 {
	var r struct{ Generation uint64 }
	c.read(c.Generation()+".json", &r)
	return r.Generation
}

// record is the generation that the volume says the target was notified of.
func (c *crash) record() uint64 {
	var r struct {
		Targets map[string]uint64 `json:"told"`
	}
	c.read("..notified.json", &r)
	return r.Targets[c.target]
}

func (c *crash) read(name string, into any) {
	data, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		c.t.Log(err) // between two looks; whoever waits looks again
	}
}
