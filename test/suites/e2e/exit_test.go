package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestSIGTERM_noAPIServer is not parallel, because it stops the shared API server.
func TestSIGTERM_noAPIServer(t *testing.T) {
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.SetSecret("db", files{"k": "1"})
	running := s.Start(nil)
	running.WaitReady()
	st.ControlPlane().StopAPIServer()
	t.Cleanup(func() {
		if err := st.ControlPlane().StartAPIServer(t.Context()); err != nil && t.Context().Err() == nil {
			t.Fatal(err)
		}
	})
	running.WaitLog("connection refused")
	running.Stop()

	late := s.Start(nil) // starts without the API server and keeps the volume
	late.WaitLog("connection refused")
	if err := s.CheckFiles(files{"db/k": "1"}); err != nil {
		t.Error(err)
	}
	late.Stop()
	empty := s.Start(st.Env{"SECRETSYNC_DIR": testsupport.MemoryDir(t), "SECRETSYNC_SYNC_TIMEOUT": "1s"})
	empty.WaitExit(1, 5*time.Second)

	if err := st.ControlPlane().StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", files{"k": "2"})
	back := s.Start(nil)
	s.WaitFiles(files{"db/k": "2"})
	back.Stop()
}

// TestOneShot_existingVolume: a volume from an earlier run does not replace the first list.
func TestOneShot_existingVolume(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_ONE_SHOT": "true"})
	r := s.Start(nil)
	r.WaitLog("nothing is published yet")
	s.SetSecret("db", files{"k": "1"})
	r.WaitExit(0, 10*time.Second)
	if err := s.CheckFiles(files{"db/k": "1"}); err != nil {
		t.Error(err)
	}
	s.SetSecret("db", files{"k": "2"}) // the existing files are not enough: the API server must answer
	s.Start(nil).WaitExit(0, 10*time.Second)
	if err := s.CheckFiles(files{"db/k": "2"}); err != nil {
		t.Error(err)
	}
	s.Start(st.Env{"SECRETSYNC_PROCESS": "app"}).WaitExit(2, testsupport.Patience)
}

// TestSyncTimeout_missingSecret ends with code 1 and writes nothing.
func TestSyncTimeout_missingSecret(t *testing.T) {
	t.Parallel()
	for name, oneShot := range map[string]string{"sidecar": "false", "one-shot": "true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := st.New(t, st.Env{
				"SECRETSYNC_SECRETS": "db,missing", "SECRETSYNC_SYNC_TIMEOUT": "1s", "SECRETSYNC_ONE_SHOT": oneShot,
			})
			s.SetSecret("db", files{"k": "1"})
			r := s.Start(nil)
			r.WaitExit(1, 5*time.Second)
			if !strings.Contains(r.Log.String(), "missing") {
				t.Errorf("the log does not name the missing Secret:\n%s", r.Log)
			}
			if err := s.CheckFiles(files{}); err != nil {
				t.Errorf("a part of the generation was published: %v", err)
			}
		})
	}
}

// TestEnvironment_invalid: all errors are listed at once, with their variables, and nothing
// is written.
func TestEnvironment_invalid(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  st.Env
		want []string
	}{
		{"nothing to watch", st.Env{"SECRETSYNC_SECRETS": ""}, []string{"SECRETSYNC_SECRETS", "SECRETSYNC_SELECTOR"}},
		{"no namespace", st.Env{"POD_NAMESPACE": ""}, []string{"POD_NAMESPACE", "fieldRef"}},
		{"a typo", st.Env{"SECRETSYNC_SECRET": "db"}, []string{"SECRETSYNC_SECRET", "SECRETSYNC_SECRETS"}},
		{"many at once", st.Env{
			"SECRETSYNC_LAYOUT": "round", "SECRETSYNC_SETTLE": "soon", "SECRETSYNC_FILE_MODE": "999",
			"SECRETSYNC_WEBHOOK_URL": "ftp://x", "SECRETSYNC_ITEMS": "db/k=../k", "SECRETSYNC_SIGNAL": "LOUD",
		}, []string{
			"SECRETSYNC_LAYOUT", "SECRETSYNC_SETTLE", "SECRETSYNC_FILE_MODE", "SECRETSYNC_WEBHOOK_URL",
			"SECRETSYNC_ITEMS", "SECRETSYNC_SIGNAL",
		}},
		{
			"several targets",
			st.Env{"SECRETSYNC_PROCESS": "a:USR9,b", "SECRETSYNC_PID_FILE": "/p,q"},
			[]string{"SECRETSYNC_PROCESS", "USR9", "SECRETSYNC_PID_FILE"},
		},
		{"no such kubeconfig", st.Env{"KUBECONFIG": "/no/such/kubeconfig"}, []string{"/no/such/kubeconfig"}},
		{"a kubeconfig that is none", st.Env{"KUBECONFIG": "/proc/self/status"}, []string{"/proc/self/status"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := st.NewWithoutRole(t, st.Env{"SECRETSYNC_SECRETS": "db"})
			r := s.Start(tt.env)
			r.WaitExit(2, testsupport.Patience)
			for _, word := range tt.want {
				if !strings.Contains(r.Log.String(), word) {
					t.Errorf("no %q in\n%s", word, r.Log)
				}
			}
			entries, err := os.ReadDir(s.Dir)
			// Both the volume and the cluster are checked, and the lock file stays.
			if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "..lock" {
				t.Errorf("the volume contains %v, %v, want nothing but the lock", entries, err)
			}
		})
	}
}

// TestEnvironment_serviceVariables: a Service whose name starts with "secretsync" adds
// variables with the prefix to every Pod. They are accepted.
func TestEnvironment_serviceVariables(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.SetSecret("db", files{"k": "1"})
	r := s.Start(st.Env{
		"SECRETSYNC_SERVICE_HOST": "10.0.0.7", "SECRETSYNC_SERVICE_PORT": "80", "SECRETSYNC_SERVICE_PORT_HTTP": "80",
		"SECRETSYNC_PORT": "tcp://10.0.0.7:80", "SECRETSYNC_PORT_80_TCP": "tcp://10.0.0.7:80",
		"SECRETSYNC_PORT_80_TCP_ADDR": "10.0.0.7",
	})
	r.WaitReady()
	r.Stop()
}

// TestVolume_secondWriter: a second sidecar with the same volume exits.
func TestVolume_secondWriter(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	s.SetSecret("db", files{"k": "1"})
	r := s.Start(nil)
	r.WaitReady()
	s.Start(nil).WaitExit(2, testsupport.Patience)
	s.SetSecret("db", files{"k": "2"})
	s.WaitFiles(files{"db/k": "2"})
	r.Stop()
}

// TestHTTP_beforeAndAfterFirstGeneration: /readyz fails until a generation is published.
func TestHTTP_beforeAndAfterFirstGeneration(t *testing.T) {
	t.Parallel()
	addr := childprocess.FreeAddr(t)
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_HTTP_ADDR": addr})
	s.Start(nil).WaitLog("nothing is published yet")
	status := func(path string) func() error {
		return func() error { return get("http://"+addr+path, http.StatusOK, nil) }
	}
	testsupport.Eventually(t, "livez", status("/livez"))
	if status("/readyz")() == nil {
		t.Error("readyz succeeds without a generation")
	}
	s.SetSecret("db", files{"k": "1"})
	testsupport.Eventually(t, "readyz", status("/readyz"))
	testsupport.Eventually(t, "metrics", status("/metrics"))
}
