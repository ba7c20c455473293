package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestItems_otherKeys: a change of an unlisted key leads to no generation and no notification.
// A change of a listed key leads to both, also if the key is a part of a bundle or of a dotenv
// file. Operators write unlisted keys, for example the remaining time of a lease.
func TestItems_otherKeys(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		env  st.Env
		want files
	}{
		{"alone", st.Env{"SECRETSYNC_ITEMS": "db/password=password"}, files{"db/password": "two"}},
		{"bundle", st.Env{"SECRETSYNC_ITEMS": "db/user+password=both"}, files{"db/both": "app\ntwo\n"}},
		{"dotenv", st.Env{"SECRETSYNC_ENV_FILES": "db/password=x/db.env"}, files{"db/x/db.env": "password='two'\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hook := st.NewWebhook(t)
			env := st.Env{
				"SECRETSYNC_SECRETS": "db", "SECRETSYNC_WEBHOOK_URL": hook.URL,
				"SECRETSYNC_HTTP_ADDR": childprocess.FreeAddr(t),
			}
			maps.Copy(env, test.env)
			s := st.New(t, env)
			s.SetSecret("db", files{"password": "one", "user": "app", "ttl": "60"})
			s.Start(nil).WaitReady()
			for ttl := range 5 {
				s.SetSecret("db", files{"password": "one", "user": "app", "ttl": fmt.Sprint(ttl)})
				waitProcessed(t, s)
			}
			s.SetSecret("db", files{"password": "two", "user": "app", "ttl": "60"})
			testsupport.Eventually(t, "the app is notified of the password", func() error {
				accepted := hook.Accepted()
				if len(accepted) != 1 || accepted[0].Generation != 2 {
					return fmt.Errorf("got %+v, want generation 2", accepted)
				}
				return nil
			})
			s.WaitFiles(test.want)
		})
	}
}

// waitProcessed waits until the sidecar has processed the newest version of db.
func waitProcessed(t *testing.T, s *st.Scene) {
	want := s.Get("db").ResourceVersion
	testsupport.Eventually(t, "the version is processed", func() error {
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
