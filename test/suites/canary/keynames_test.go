package canary

import (
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestHTTP_keyNames: no response of the HTTP server contains the name of a key of a published
// Secret, of a rejected Secret, or of a required key that is missing: before and after the first
// generation, while a target fails. The log contains these names.
func TestHTTP_keyNames(t *testing.T) {
	t.Parallel()
	const key = "markedkey"
	addr := childprocess.FreeAddr(t)
	s := st.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "rejected", "SECRETSYNC_HTTP_ADDR": addr,
		"SECRETSYNC_REQUIRED_KEYS": "db/" + key + "-required,rejected/" + key + "-must",
		"SECRETSYNC_NOTIFY_FIRST":  "true", "SECRETSYNC_WEBHOOK_URL": "http://127.0.0.1:1/",
	})
	s.SetSecret("db", files{key: "1"})
	s.SetSecret("rejected", files{key: "1"})
	run := s.Start(nil)
	check := func(state string) {
		for _, path := range []string{"/metrics", "/status", "/livez", "/readyz"} {
			if got := fetch(t, "http://"+addr+path); strings.Contains(got, key) {
				t.Errorf("%s %s contains the name of a key:\n%s", path, state, got)
			}
		}
	}
	run.WaitLog(key + `-required\" is missing`)
	run.WaitLog(key + `-must\" is missing`)
	check("before the first generation")
	s.SetSecret("db", files{key: "1", key + "-required": "1"})
	run.WaitLog("cannot notify the app")
	check("after the first generation")
	if !strings.Contains(run.Log.String(), `"added":["db/`+key) {
		t.Errorf("the log lacks the names:\n%s", run.Log)
	}
}
