package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/notifier"
)

// TestTargetNames: a single target of a kind uses the name of the kind. Several targets
// have their own names. The names are labels of metrics.
func TestTargetNames(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SECRETSYNC_SECRETS", "db")
	for _, c := range []struct {
		process, pidFile, webhook, exec string
		want                            []string
	}{
		{"", "", "", "", nil},
		{"app", "", "http://a", `["true"]`, []string{"process", "webhook", "exec"}},
		{"", "/run/pid", "", "", []string{"process"}},
		{"nginx,app:USR1", "", "", "", []string{"process/nginx", "process/app"}},
		{"nginx", "/run/pid", "", "", []string{"process/nginx", "pidfile/1"}},
		{"", "/a,/b:USR1", "", "", []string{"pidfile/1", "pidfile/2"}},
		{"app", "", "http://a,http://b", "", []string{"process", "webhook/1", "webhook/2"}},
	} {
		t.Setenv("SECRETSYNC_PROCESS", c.process)
		t.Setenv("SECRETSYNC_PID_FILE", c.pidFile)
		t.Setenv("SECRETSYNC_WEBHOOK_URL", c.webhook)
		t.Setenv("SECRETSYNC_EXEC", c.exec)
		cfg, err := config.Load()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, target := range newTargets(cfg, slog.New(slog.DiscardHandler), func(string, string) {}) {
			got = append(got, target.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// TestTargetKeys: the key of a record does not depend on the other targets, and contains no
// credentials.
func TestTargetKeys(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SECRETSYNC_SECRETS", "db")
	for _, c := range []struct {
		process, pidFile, webhook string
		want                      []string
	}{
		{"app", "", "http://a/x", []string{"process:app", "webhook:http://a/x"}},
		{"nginx,app:USR1", "/run/pid", "", []string{"process:nginx", "process:app", "pidfile:/run/pid"}},
		{"", "/run/pid", "http://b,http://a/x", []string{"pidfile:/run/pid", "webhook:http://b", "webhook:http://a/x"}},
		{"", "", "http://u:hunter2@a/x,http://a/x?token=hunter2,unix:///s:/p",
			[]string{"webhook:http://a/x", "webhook:http://a/x 2", "webhook:unix:///s:/p"}},
	} {
		t.Setenv("SECRETSYNC_PROCESS", c.process)
		t.Setenv("SECRETSYNC_PID_FILE", c.pidFile)
		t.Setenv("SECRETSYNC_WEBHOOK_URL", c.webhook)
		cfg, err := config.Load()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, target := range newTargets(cfg, slog.New(slog.DiscardHandler), func(string, string) {}) {
			got = append(got, target.Key)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// TestEachHasItsSignal: the signal comes from the target's entry, or from
// SECRETSYNC_SIGNAL.
func TestEachHasItsSignal(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SECRETSYNC_SECRETS", "db")
	t.Setenv("SECRETSYNC_SIGNAL", "TERM")
	t.Setenv("SECRETSYNC_SIGNAL_CHECK", "false")
	t.Setenv("SECRETSYNC_PROCESS_MIN_AGE", "0")
	for own, want := range map[string]syscall.Signal{"": syscall.SIGTERM, ":USR1": syscall.SIGUSR1} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		child := exec.CommandContext(ctx, "sleep", "1000")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		pidFile := filepath.Join(t.TempDir(), "pid")
		if err := os.WriteFile(pidFile, []byte(strconv.Itoa(child.Process.Pid)), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SECRETSYNC_PID_FILE", pidFile+own)
		cfg, err := config.Load()
		if err != nil {
			t.Fatal(err)
		}
		target := newTargets(cfg, slog.New(slog.DiscardHandler), func(string, string) {})[0]
		if err := target.Notify(t.Context(), notifier.Changes{}); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != want {
			t.Errorf("%q: the process ended by %v, want %v", own, err, want)
		}
	}
}
