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

// TestHTTP_keyNamesOfFailures: no response of the HTTP server contains a path or the name of a key, while every target
// fails because of the file of a key: one that is missing, or one with wrong content. The log contains these names.
func TestHTTP_keyNamesOfFailures(t *testing.T) {
	t.Parallel()
	const key = "markedkey"
	for _, file := range []string{key, key + "-missing"} {
		addr := childprocess.FreeAddr(t)
		s := st.New(t, st.Env{
			"SECRETSYNC_SECRETS": "db", "SECRETSYNC_HTTP_ADDR": addr, "SECRETSYNC_NOTIFY_FIRST": "true",
		})
		path := s.Dir + "/db/" + file
		s.Env["SECRETSYNC_EXEC"], s.Env["SECRETSYNC_PID_FILE"] = `["`+path+`"]`, path
		s.SetSecret("db", files{key: "no token"})
		for name, env := range map[string]st.Env{
			"token":  {"SECRETSYNC_WEBHOOK_URL": "http://127.0.0.1:1/", "SECRETSYNC_WEBHOOK_TOKEN_FILE": path},
			"CA":     {"SECRETSYNC_WEBHOOK_URL": "https://127.0.0.1:1/", "SECRETSYNC_WEBHOOK_CA_FILE": path},
			"socket": {"SECRETSYNC_WEBHOOK_URL": "unix://" + path + ":/"},
		} {
			run := s.Start(env)
			for _, target := range []string{"process", "webhook", "exec"} {
				run.WaitLog(`"cannot notify the app, will try again","target":"` + target)
			}
			if !strings.Contains(run.Log.String(), path) {
				t.Errorf("the log lacks the names:\n%s", run.Log)
			}
			for _, page := range []string{"/metrics", "/status", "/livez", "/readyz"} {
				if got := fetch(t, "http://"+addr+page); strings.Contains(got, key) || strings.Contains(got, s.Dir) {
					t.Errorf("%s contains the name of a key, with a failing %s:\n%s", page, name, got)
				}
			}
			run.Stop()
		}
	}
}
