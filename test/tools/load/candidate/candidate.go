// Package candidate runs the measured processes: secret-sync and the programs
// compared with it. It observes them from outside: their files, the times of
// publishes and the memory after it is steady. A candidate ends with this program. The
// package knows nothing about the measurements or about the changes of a Secret.
package candidate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

// A Process is a running process that is measured.
type Process struct {
	*childprocess.Process
	Dir string // its volume
	log *testsupport.Log
}

// Start starts a command that writes its files to the volume dir.
func Start(cmd *exec.Cmd, dir string, env []string) (*Process, error) {
	p := &Process{log: &testsupport.Log{}, Dir: dir}
	cmd.Env, cmd.Stdout, cmd.Stderr = append(env, "SECRETSYNC_DIR="+dir), p.log, p.log
	var err error
	p.Process, err = childprocess.Start(cmd)
	return p, err
}

// End kills the process and removes its volume.
func (p *Process) End() {
	p.Kill()
	_ = os.RemoveAll(p.Dir)
}

// Until polls check until it returns nil. It is for waits that need no precise time.
func Until(ctx context.Context, condition string, check func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, fmt.Errorf("waited 5 minutes for %s", condition))
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last: %w)", context.Cause(ctx), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// WaitFiles waits until this number of Secrets have a file.
func (p *Process) WaitFiles(ctx context.Context, secrets int) error {
	return Until(ctx, "files", func() error {
		select {
		case <-p.Done():
			return fmt.Errorf("the process ended: %s\n%s", p.State(), p.log.Tail(5))
		default:
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*", "password"))
		if err == nil && len(files) != secrets {
			err = fmt.Errorf("files of %d Secrets, want %d", len(files), secrets)
		}
		return err
	})
}

// SteadyMemory returns the memory of the process after it did not change for 3 s.
func (p *Process) SteadyMemory(ctx context.Context) (last usage.Memory, err error) {
	since := time.Now()
	err = Until(ctx, "a steady use of memory", func() error {
		now, err := usage.MemoryOf(p.PID())
		if err != nil {
			return err
		}
		if now.RSS != last.RSS {
			last, since = now, time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return fmt.Errorf("%s MB since %s", usage.MB(last.RSS), time.Since(since))
		}
		return nil
	})
	return last, err
}

var (
	listens = regexp.MustCompile(`"msg":"http server listens","addr":"([^"]+)"`)
	total   = regexp.MustCompile(`\ngo_goroutines (\d+)`)
)

// Goroutines returns the number of goroutines from /metrics, or "?".
func (p *Process) Goroutines() string {
	for _, match := range listens.FindAllStringSubmatch(p.log.String(), -1) {
		resp, err := http.Get("http://" + match[1] + "/metrics")
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if n := total.FindSubmatch(body); n != nil {
			return string(n[1])
		}
	}
	return "?"
}

// Log returns the output of the process.
func (p *Process) Log() string { return p.log.String() }

// Content returns the password of a Secret in the volume.
func (p *Process) Content(secret string) (string, error) {
	b, err := os.ReadFile(filepath.Join(p.Dir, secret, "password"))
	return string(b), err
}
