// Package candidate runs a process that is to be measured, secret-sync or what it is
// compared with, and sees from outside what it does: its files, the moments at which
// they are published, its memory once that is steady. A candidate does not outlive this
// program. The package must not know which measurement asks, nor how a Secret is changed.
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

// Process is a running process that is measured.
type Process struct {
	*childprocess.Process
	Dir string // its volume
	log *testsupport.Log
}

// Start starts a command, which is to keep its files in the volume dir.
func Start(cmd *exec.Cmd, dir string, env []string) (*Process, error) {
	p := &Process{log: &testsupport.Log{}, Dir: dir}
	cmd.Env, cmd.Stdout, cmd.Stderr = append(env, "SECRETSYNC_DIR="+dir), p.log, p.log
	var err error
	p.Process, err = childprocess.Start(cmd)
	return p, err
}

// End kills it and removes its volume.
func (p *Process) End() {
	p.Kill()
	_ = os.RemoveAll(p.Dir)
}

// Until waits for something that polling is good enough for.
func Until(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, fmt.Errorf("%s: not within 5 minutes", what))
	defer cancel()
	for {
		err := f()
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

// Has waits until that many Secrets have a file.
func (p *Process) Has(ctx context.Context, secrets int) error {
	return Until(ctx, "files", func() error {
		select {
		case <-p.Done():
			return fmt.Errorf("it ended: %s\n%s", p.State(), p.log.Tail(5))
		default:
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*", "password"))
		if err == nil && len(files) != secrets {
			err = fmt.Errorf("%d of %d", len(files), secrets)
		}
		return err
	})
}

// Settled is its memory once that did not change for 3 s.
func (p *Process) Settled(ctx context.Context) (last usage.Memory, err error) {
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

// Content is what its volume has as the password of a Secret.
func (p *Process) Content(secret string) (string, error) {
	b, err := os.ReadFile(filepath.Join(p.Dir, secret, "password"))
	return string(b), err
}
