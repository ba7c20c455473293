//go:build programs

package troubleshooting

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// outOfMemory has a memory limit, a Secret that grows, and the kernel kill the sidecar.
// Then it starts again, as the kubelet does it.
func outOfMemory(t *testing.T) *pod {
	p := newPod(t, nil)
	p.ready()
	group := memoryGroup(t, "12M")
	if group != "" {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, p.run.PID()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; !ended(p.run); i++ {
		switch {
		case group == "":
			t.Log("no memory cgroup can be made here: the test sends what the kernel would, SIGKILL")
			p.run.Kill()
		case i == 60:
			t.Fatal("60 generations of 1 MB, and the sidecar was not killed")
		}
		p.Put("db", map[string]string{"blob": strings.Repeat(string(rune('a'+i%26)), 1_000_000)})
		st.Until(t, "the generation, or the end", func() error {
			info, err := os.Stat(filepath.Join(p.Dir, "db", "blob"))
			if err == nil || ended(p.run) {
				return nil
			}
			return fmt.Errorf("%v, %v", info, err)
		})
	}
	t.Logf("killed with a limit of memory: %v", group != "")
	if got := p.run.State(); got != "signal: killed" {
		t.Errorf("the sidecar ended by %q, want SIGKILL", got)
	}
	p.rotate()
	p.from = 0
	p.ready()
	p.WaitFiles(map[string]string{"db/username": "app", "db/password": "2"})
	return p
}

func ended(r *st.Run) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

// memoryGroup makes a cgroup with a memory limit, of either version, "" where that is
// not allowed.
func memoryGroup(t *testing.T, limit string) string {
	t.Helper()
	for parent, file := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		group, err := os.MkdirTemp(parent, "secret-sync-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(group) })
		if os.WriteFile(filepath.Join(group, file), []byte(limit), 0o644) == nil {
			return group
		}
	}
	return ""
}
