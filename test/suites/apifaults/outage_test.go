package apifaults

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// TestOutage_missedEvents: Secrets change, appear and disappear while the API server cannot
// be reached. No watch event reports this, only the next list.
func TestOutage_missedEvents(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_SELECTOR": "app=web", "SECRETSYNC_ON_DELETE": "remove",
	})
	s.SetSecret("db", files{"k": "1"})
	s.SetSecret("leaves", files{"k": "1"}, "app=web")
	s.SetSecret("goes", files{"k": "1"}, "app=web")
	s.SetSecret("stays", files{"k": "1"}, "app=web")
	run := s.Start(nil)
	s.WaitFiles(files{"db/k": "1", "leaves/k": "1", "goes/k": "1", "stays/k": "1"})
	r.Wire.Refuse()
	run.WaitLog(down)
	s.Delete("db")
	s.SetSecret("db", files{"k": "recreated"})
	s.SetSecret("leaves", files{"k": "not ours"})
	s.Delete("goes")
	s.SetSecret("comes", files{"k": "new"}, "app=web")
	r.Wire.Listen()
	testsupport.EventuallyWithin(t, faultproxy.Patience+5e9, "the missed changes", func() error {
		return s.CheckFiles(files{"db/k": "recreated", "stays/k": "1", "comes/k": "new"})
	})
	run.Stop()
}

// TestOutage_largestSecret: connections end in the middle of a Secret of the maximum size.
func TestOutage_largestSecret(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "big"})
	large := func(c string) files { return files{"k": strings.Repeat(c, 1<<20-1000)} }
	in := func(f files) files { return files{"big/k": f["k"]} }
	s.SetSecret("big", large("a"))
	r.Wire.Cut(500_000)
	run := s.Start(nil)
	testsupport.Eventually(t, "some attempts", func() error {
		if got := len(lines(run, ended)); got < 2 {
			return fmt.Errorf("%d attempts", got)
		}
		return nil
	})
	if err := s.CheckFiles(files{}); err != nil {
		t.Error("the files changed during the fault:", err)
	}
	r.Wire.Cut(0)
	testsupport.EventuallyWithin(t, faultproxy.Patience, "the whole Secret",
		func() error { return s.CheckFiles(in(large("a"))) })
	s.SetSecret("big", large("b"))
	s.WaitFiles(in(large("b")))
	run.Stop()
}

// TestOutage_hundredWatches: their only connection breaks. The log contains a warning per cause, not per watch.
func TestOutage_hundredWatches(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 100 {
		names = append(names, "s"+strconv.Itoa(i))
	}
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": strings.Join(names, ",")})
	want := func(value string) files {
		all := files{}
		for _, n := range names {
			all[n+"/k"] = value
		}
		return all
	}
	put := func(value string) {
		for _, n := range names {
			s.SetSecret(n, files{"k": value})
		}
	}
	put("1")
	run := s.Start(nil)
	s.WaitFiles(want("1"))
	r.Wire.Refuse()
	put("2")
	if err := s.CheckFiles(want("1")); err != nil {
		t.Error("during the fault:", err)
	}
	r.Wire.Listen()
	testsupport.EventuallyWithin(t, faultproxy.Patience, "the files after the fault",
		func() error { return s.CheckFiles(want("2")) })
	put("3")
	s.WaitFiles(want("3"))
	causes := map[string]int{} // each cause has its own hint; a slow server may add the cause 429
	for _, l := range lines(run, down) {
		causes[l.Hint]++
		if causes[l.Hint] > 1 || len(causes) > 2 {
			t.Errorf("more than a single warning for a cause: %+v", l)
		}
	}
	if len(causes) == 0 {
		t.Error("no warning for the outage")
	}
	run.Stop()
}
