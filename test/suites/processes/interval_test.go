//go:build programs

package processes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// publishedAt matches the time of a publish in the log of the sidecar.
var publishedAt = regexp.MustCompile(`"time":"([^"]+)"[^\n]*"msg":"published"`)

// TestInterval_sameProcess: two targets name a process. It receives their signals at a distance of at least the
// interval, and no publish changes its files within the interval after a signal.
func TestInterval_sameProcess(t *testing.T) {
	t.Parallel()
	const interval, slack = time.Second, 300 * time.Millisecond // the process may handle a signal late
	dir := testsupport.MemoryDir(t)
	p := podtest.New(t, st.Env{
		"SECRETSYNC_PROCESS": "notified-app", "SECRETSYNC_PID_FILE": dir + "/pid",
		"SECRETSYNC_PROCESS_MIN_AGE": "100ms", "SECRETSYNC_SIGNAL_INTERVAL": interval.String(),
	})
	r := p.Start(nil)
	r.WaitReady()
	program := podtest.Called(t, podtest.CompileGo(t, "receiver"), "notified-app")
	app := p.StartProgram(program, "hup", dir+"/out", p.Dir)
	app.WaitReady("ready")
	place(t, dir+"/pid", fmt.Sprint(app.Inner()))
	for range 3 {
		for range 3 {
			p.MustRotate()
		}
		testsupport.EventuallyWithin(t, podtest.NotifiedWithin, "a burst is notified",
			func() error { return bothNotified(p) })
	}
	all, err := readSeen(dir + "/out")
	if err != nil || len(all) < 6 || all[len(all)-1].Value != p.Last() {
		t.Fatalf("%d signals, error %v, want at least 6, and the newest value:\n%v", len(all), err, all)
	}
	var published []time.Time
	for _, match := range publishedAt.FindAllStringSubmatch(r.Log.String(), -1) {
		at, err := time.Parse(time.RFC3339Nano, match[1])
		if err != nil {
			t.Fatal(err)
		}
		published = append(published, at)
	}
	if len(published) < 4 {
		t.Errorf("published at %v, want at least 4 times", published)
	}
	for i, signal := range all {
		if i > 0 && signal.At.Sub(all[i-1].At) < interval-slack {
			t.Errorf("signal %d came %v after the signal before", i, signal.At.Sub(all[i-1].At))
		}
		for _, at := range published {
			if after := at.Sub(signal.At); after > 0 && after < interval-slack {
				t.Errorf("published %v after signal %d", after, i)
			}
		}
	}
}

// bothNotified returns nil if the records of both targets contain the newest generation.
func bothNotified(p *podtest.Pod) error {
	var record struct {
		Targets map[string]struct{ Notified uint64 }
	}
	var newest struct{ Generation uint64 }
	for name, into := range map[string]any{"..notified.json": &record, p.Generation() + ".json": &newest} {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			return err
		}
	}
	if value := strings.TrimSpace(st.Read(p.T, p.Value())); value != fmt.Sprint(p.Last()) {
		return fmt.Errorf("value %s, want %d", value, p.Last())
	}
	for _, target := range record.Targets {
		if target.Notified != newest.Generation {
			return fmt.Errorf("records %v, generation %d", record, newest.Generation)
		}
	}
	if len(record.Targets) != 2 {
		return errors.New("no record of both targets")
	}
	return nil
}
