package e2e

import (
	"debug/buildinfo"
	"os/exec"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestFIPS_connectsToTheServer builds the FIPS variant of docs/releases.md. The variant must
// publish a Secret and its update over TLS, although every algorithm outside FIPS 140-3 fails.
func TestFIPS_connectsToTheServer(t *testing.T) {
	t.Setenv("GOFIPS140", "v1.0.0")
	binary, err := build.Sidecar(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if got := settings["DefaultGODEBUG"]; got != "fips140=on" {
		t.Errorf("got DefaultGODEBUG %q, want fips140=on", got)
	}
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "GODEBUG": "fips140=only"})
	s.StartProcess = func(cmd *exec.Cmd) (*childprocess.Process, error) {
		cmd.Path = binary
		return childprocess.Start(cmd)
	}
	s.SetSecret("db", files{"password": "one"})
	r := s.Start(nil)
	s.WaitFiles(files{"db/password": "one"})
	s.SetSecret("db", files{"password": "two"})
	s.WaitFiles(files{"db/password": "two"})
	r.Stop()
}
