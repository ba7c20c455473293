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

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// outOfMemory has a memory limit, a Secret that grows, and the kernel kill the sidecar.
// Then it starts again, as the kubelet does it.
func outOfMemory(t *testing.T) *pod {
	p := newPod(t, nil)
	p.ready()
	group := memoryGroup(t, "2M") // on top of what it has: less than four generations need
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
	// A generation that the kill cut short is worth a warning before this line.
	p.from = strings.LastIndex(p.run.Log.String(), `{"time":"`+p.started()+`"`)
	return p
}

// started is the time of the line that only a start has, by its key.
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

// memoryGroup makes a cgroup with a memory limit, of either version, "" where that is
// not allowed.
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
		// The kernel made the file, or this is no cgroup.
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
