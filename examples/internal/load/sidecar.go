package main

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

	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
)

// sidecar is a running process that is measured.
type sidecar struct {
	*childprocess.Process
	log *childprocess.Log
	dir string
}

// launch starts the sidecar with a volume of its own.
func (b *bench) launch(env ...string) (*sidecar, error) {
	dir, err := b.volume()
	if err != nil {
		return nil, err
	}
	return start(exec.Command(b.binary), dir, append(env, "SECRETSYNC_DIR="+dir))
}

func start(cmd *exec.Cmd, dir string, env []string) (*sidecar, error) {
	s := &sidecar{log: &childprocess.Log{}, dir: dir}
	cmd.Env, cmd.Stdout, cmd.Stderr = env, s.log, s.log
	var err error
	s.Process, err = childprocess.Start(cmd)
	return s, err
}

// end kills it and removes its volume.
func (s *sidecar) end() {
	s.Kill()
	_ = os.RemoveAll(s.dir)
}

// until waits for something that polling is good enough for.
func until(ctx context.Context, what string, f func() error) error {
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

// has waits until that many Secrets have a file.
func (s *sidecar) has(ctx context.Context, secrets int) error {
	return until(ctx, "files", func() error {
		select {
		case <-s.Done():
			return fmt.Errorf("it ended: %s\n%s", s.State(), s.log.Tail(5))
		default:
		}
		files, err := filepath.Glob(filepath.Join(s.dir, "*", "password"))
		if err == nil && len(files) != secrets {
			err = fmt.Errorf("%d of %d", len(files), secrets)
		}
		return err
	})
}

// settled is its usage once that did not change for 3 s.
func (s *sidecar) settled(ctx context.Context) (last usage, err error) {
	since := time.Now()
	err = until(ctx, "a steady use of memory", func() error {
		now, err := usageOf(s.PID())
		if err != nil {
			return err
		}
		if now.rss != last.rss {
			last, since = now, time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return fmt.Errorf("%s MB since %s", mb(last.rss), time.Since(since))
		}
		return nil
	})
	return last, err
}

var (
	listens = regexp.MustCompile(`"msg":"http server listens","addr":"([^"]+)"`)
	total   = regexp.MustCompile(`goroutine profile: total (\d+)`)
)

// goroutines asks pprof, which is one of the addresses that it listens at.
func (s *sidecar) goroutines() string {
	for _, match := range listens.FindAllStringSubmatch(s.log.String(), -1) {
		resp, err := http.Get("http://" + match[1] + "/debug/pprof/goroutine?debug=1")
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
