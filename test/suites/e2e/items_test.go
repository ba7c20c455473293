package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestItems_otherKeys: with SECRETSYNC_ITEMS, a change of an unlisted key leads
// to no generation and no notification. Operators write such keys, for example the
// remaining time of a lease.
func TestItems_otherKeys(t *testing.T) {
	t.Parallel()
	hook := st.NewWebhook(t)
	s := st.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_ITEMS": "db/password=password",
		"SECRETSYNC_WEBHOOK_URL": hook.URL, "SECRETSYNC_HTTP_ADDR": st.FreeAddr(t),
	})
	s.Put("db", files{"password": "one", "ttl": "60"})
	s.Start(nil).WaitReady()
	for ttl := range 5 {
		s.Put("db", files{"password": "one", "ttl": fmt.Sprint(ttl)})
		waitProcessed(t, s)
	}
	s.Put("db", files{"password": "two", "ttl": "60"})
	st.Until(t, "the app is notified of the password", func() error {
		accepted := hook.Accepted()
		if len(accepted) != 1 || accepted[0].Generation != 2 {
			return fmt.Errorf("got %+v, want generation 2", accepted)
		}
		return nil
	})
}

// waitProcessed waits until the sidecar has processed the newest version of db.
func waitProcessed(t *testing.T, s *st.Scene) {
	want := s.Get("db").ResourceVersion
	st.Until(t, "the version is processed", func() error {
		var document struct {
			Secrets map[string]struct{ ResourceVersion string }
		}
		if err := json.Unmarshal(s.Print("status"), &document); err != nil {
			return err
		}
		if got := document.Secrets["db"].ResourceVersion; got != want {
			return fmt.Errorf("got version %q, want %q", got, want)
		}
		return nil
	})
}
