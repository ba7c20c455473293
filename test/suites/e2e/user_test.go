package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// podUser returns the user of the image. It returns nil if the test does not run as root and
// cannot change its user.
func podUser() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: 65532, Gid: 65532}
}

// TestVolume_stickyAndNotRoot: the memory volume of a Pod belongs to root and is sticky, so
// another user cannot rename over files of root.
func TestVolume_stickyAndNotRoot(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_FILE_MODE": "0440"})
	if err := os.Chmod(s.Dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", files{"k": "1"})
	env := st.Env{"KUBECONFIG": st.CopyKubeconfig(t, s.Kubeconfig, "")}
	r := s.StartAs(podUser(), env)
	s.WaitFiles(files{"db/k": "1"})
	s.SetSecret("db", files{"k": "2"})
	s.WaitFiles(files{"db/k": "2"})
	info, err := os.Stat(filepath.Join(s.Dir, "db", "k"))
	if err != nil || info.Mode().Perm() != 0o440 {
		t.Errorf("mode %v, %v, want 0440", info.Mode(), err)
	}
	r.Stop()
	again := s.StartAs(podUser(), env)
	again.WaitLog("watch connected")
	again.Stop()
}

// TestVolume_invalid: an unusable volume ends the sidecar with a single error.
func TestVolume_invalid(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		make func(path string) error
	}{
		{"not there", func(string) error { return nil }},
		{"a file", func(path string) error { return os.WriteFile(path, nil, 0o666) }},
		{"not writable", func(path string) error { return os.Mkdir(path, 0o555) }},
		{"not readable", func(path string) error { return os.Mkdir(path, 0o300) }},
		{"a needed name is taken",
			func(path string) error { return os.MkdirAll(filepath.Join(path, "..data", "x"), 0o777) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
			s.SetSecret("db", files{"k": "1"})
			path := filepath.Join(s.Dir, "volume")
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			r := s.StartAs(podUser(),
				st.Env{"SECRETSYNC_DIR": path, "KUBECONFIG": st.CopyKubeconfig(t, s.Kubeconfig, "")})
			r.WaitExit(2, testsupport.Patience)
			if !strings.Contains(r.Log.String(), path) || strings.Contains(r.Log.String(), "kubeconfig") {
				t.Errorf("want a single error about %s:\n%s", path, r.Log)
			}
			if _, err := os.Lstat(filepath.Join(path, "db")); err == nil {
				t.Error("a part of the generation was published")
			}
		})
	}
}

// TestFootprint logs the resources of a sidecar with one Secret over TLS. It checks nothing.
func TestFootprint(t *testing.T) {
	s := st.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_LOG_LEVEL": "info", "SECRETSYNC_HTTP_ADDR": childprocess.FreeAddr(t),
	})
	s.SetSecret("db", files{"username": "u", "password": "p"})
	r := s.Start(nil)
	r.WaitReady()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var figures []string
	for line := range strings.Lines(string(status)) {
		for _, name := range []string{"VmRSS:", "RssAnon:", "VmHWM:", "Threads:"} {
			if strings.HasPrefix(line, name) {
				figures = append(figures, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	info, err := os.Stat(st.Binary())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("binary %d bytes; %s", info.Size(), strings.Join(figures, ", "))
}
