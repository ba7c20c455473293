//go:build programs

package troubleshooting

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// outOfMemory sets a memory limit and grows a Secret until the kernel kills the sidecar. Then
// it starts the sidecar again, like the kubelet.
func outOfMemory(t *testing.T) *pod {
	p := newPod(t, nil)
	p.ready()
	group := memoryGroup(t, "2M") // in addition to the current use: less than four generations
	if group != "" {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, p.run.PID()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; !ended(p.run); i++ {
		switch {
		case group == "":
			t.Log("this machine allows no memory cgroup: the test sends SIGKILL instead of the kernel")
			p.run.Kill()
		case i == 60:
			t.Fatal("the sidecar was not killed after 60 generations of 1 MB")
		}
		p.SetSecret("db", map[string]string{"blob": strings.Repeat(string(rune('a'+i%26)), 1_000_000)})
		testsupport.Eventually(t, "the generation or the end", func() error {
			info, err := os.Stat(filepath.Join(p.Dir, "db", "blob"))
			if err == nil || ended(p.run) {
				return nil
			}
			return fmt.Errorf("%v, %v", info, err)
		})
	}
	t.Logf("killed by the memory limit: %v", group != "")
	if got := p.run.State(); got != "signal: killed" {
		t.Errorf("the sidecar ended with %q, want SIGKILL", got)
	}
	p.rotate()
	p.from = 0
	p.ready()
	p.WaitFiles(map[string]string{"db/username": "app", "db/password": "2"})
	// After an interrupted publish, the sidecar logs a warning before this line.
	p.from = strings.LastIndex(p.run.Log.String(), `{"time":"`+p.started()+`"`)
	return p
}

// started returns the time of the last start, from its log line.
func (p *pod) started() string {
	line := p.log([]string{"version"})
	var fields struct{ Time string }
	if err := json.Unmarshal([]byte(line[len(line)-1]), &fields); err != nil {
		p.t.Fatal(err)
	}
	return fields.Time
}

func ended(r *st.Run) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

// memoryGroup creates a cgroup of version 1 or 2 with a memory limit. It returns ""
// if this is not allowed.
func memoryGroup(t *testing.T, limit string) string {
	t.Helper()
	for _, version := range []struct{ parent, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"},
	} {
		group, err := os.MkdirTemp(version.parent, "secret-sync-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(group); err != nil {
				t.Error(err)
			}
		})
		// Open without creating: the file must come from the kernel.
		file, err := os.OpenFile(filepath.Join(group, version.limit), os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		_, err = file.WriteString(limit)
		if errors.Join(err, file.Close()) == nil {
			return group
		}
	}
	return ""
}
