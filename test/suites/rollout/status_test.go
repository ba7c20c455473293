package rollout

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// document is the JSON of /status, as its readers know it.
type document struct {
	Format                 int
	Namespace, Pod, PodUID string
	Instance, Volume       string
	Generation             uint64
	Complete               bool
	Secrets                map[string]secretStatus
	Targets                []struct {
		Name         string
		Notified     uint64
		Pending      bool
		PendingSince *time.Time
		Failures     uint64
		Error        string
	}
	Watches []struct {
		Name        string
		Up          bool
		LastContact *time.Time
	}
}

type secretStatus struct {
	Present                         bool
	UID, ResourceVersion, DataSince string
	PreviousData                    struct{ Since, Until string }
	Generation                      uint64
	Refused                         string
}

func (r *replica) status() (d document, err error) {
	answer, err := http.Get("http://" + r.env["SECRETSYNC_HTTP_ADDR"] + "/status")
	if err != nil {
		return d, err
	}
	defer answer.Body.Close()
	return d, json.NewDecoder(answer.Body).Decode(&d)
}

// TestStatus follows the document through changes, a refusal, a failing app and a
// restart.
func TestStatus(t *testing.T) {
	t.Parallel()
	s, _ := newScene(t)
	r := newReplica(t, s, "app-1", st.Env{"SECRETSYNC_REQUIRED_KEYS": "db/password"})
	until := func(what string, check func(d document) bool) (d document) {
		t.Helper()
		testsupport.Eventually(t, what, func() (err error) {
			if d, err = r.status(); err == nil && !check(d) {
				err = fmt.Errorf("got %+v", d)
			}
			return err
		})
		return d
	}
	version := func() (uid, version string) {
		secret := s.Get("db")
		return string(secret.UID), secret.ResourceVersion
	}

	uid, first := version()
	d := until("the first generation", func(d document) bool {
		db := d.Secrets["db"]
		return d.Generation == 1 && db.Present && db.UID == uid && db.ResourceVersion == first && db.Generation == 1
	})
	if d.Format != 2 || d.Namespace != s.Namespace || d.Pod != "app-1" || !d.Complete || d.Secrets["tls"].Present ||
		len(d.Targets) != 1 || d.Targets[0].Name != "webhook" || d.Targets[0].Notified != 1 || d.Targets[0].Pending {
		t.Errorf("got %+v", d)
	}
	if len(d.Watches) != 2 || d.Watches[0].Name != "secret/db" || d.Watches[0].LastContact == nil {
		t.Errorf("got watches %+v", d.Watches)
	}

	s.SetSecret("db", map[string]string{"password": "0"}, "a=b") // nothing to write
	_, second := version()
	until("a version without a generation", func(d document) bool {
		return d.Generation == 1 && d.Secrets["db"].ResourceVersion == second && d.Secrets["db"].Generation == 1
	})

	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	until("a notification that is pending", func(d document) bool {
		target := d.Targets[0]
		return d.Secrets["db"].Generation == 2 && target.Notified == 1 && target.Pending &&
			target.PendingSince != nil && target.Failures > 0 && strings.Contains(target.Error, "503")
	})
	s.SetSecret("tls", map[string]string{"crt": "c"}) // the generation of db stays
	until("another Secret", func(d document) bool {
		return d.Generation == 3 && d.Secrets["db"].Generation == 2 && d.Secrets["tls"].Generation == 3
	})
	r.app.Status.Store(http.StatusOK)
	until("notified", func(d document) bool {
		return d.Targets[0].Notified == 3 && d.Targets[0].Failures == 0 && d.Targets[0].Error == ""
	})

	s.SetSecret("db", map[string]string{"user": "u"})
	_, refused := version()
	until("a Secret that is refused", func(d document) bool {
		db := d.Secrets["db"]
		return db.Refused == "missing_key" && db.ResourceVersion == refused && db.Generation == 2
	})

	var before document
	if text := s.PrintWith(r.env, "status"); json.Unmarshal(text, &before) != nil ||
		before.Secrets["db"].Refused != "missing_key" {
		t.Errorf("secret-sync status prints %s", text)
	}
	r.run.Stop()
	var after document // from the volume
	if err := json.Unmarshal(s.PrintWith(r.env, "status"), &after); err != nil {
		t.Fatal(err)
	}
	if after.Generation != 3 || after.Secrets["db"].Generation != 2 || after.Secrets["db"].UID != uid ||
		len(after.Targets) != 1 || after.Targets[0].Notified != 3 || len(after.Watches) != 0 {
		t.Errorf("from the volume: got %+v", after)
	}
	if text := string(s.PrintWith(r.env, "status", "-o", "text")); !strings.Contains(text, "webhook  notified") {
		t.Errorf("as text:\n%s", text)
	}
	s.Start(st.Env{"SECRETSYNC_DIR": testsupport.MemoryDir(t)}, "status").WaitExit(1, 5*time.Second)
}
