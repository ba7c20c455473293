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
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// loadConfig returns the configuration of a valid environment with these variables.
func loadConfig(t *testing.T, variables map[string]string) *config.Config {
	t.Helper()
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SECRETSYNC_SECRETS", "db")
	for name, value := range variables {
		t.Setenv(name, value)
	}
	cfg, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// targetsOf returns the targets of these variables.
func targetsOf(t *testing.T, process, pidFile, webhook, exec string) []notifier.Target {
	t.Helper()
	cfg := loadConfig(t, map[string]string{
		"SECRETSYNC_PROCESS": process, "SECRETSYNC_PID_FILE": pidFile,
		"SECRETSYNC_WEBHOOK_URL": webhook, "SECRETSYNC_EXEC": exec,
	})
	return newTargets(cfg, notifier.NewInterval(0), slog.New(slog.DiscardHandler), func(string, string) {})
}

// TestTargets_names: a single target of a kind uses the name of the kind. Several targets
// have their own names. The names are labels of metrics.
func TestTargets_names(t *testing.T) {
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
		var got []string
		for _, target := range targetsOf(t, c.process, c.pidFile, c.webhook, c.exec) {
			got = append(got, target.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// TestTargets_keys: the key of a record does not depend on the other targets, and contains no
// credentials.
func TestTargets_keys(t *testing.T) {
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
		var got []string
		for _, target := range targetsOf(t, c.process, c.pidFile, c.webhook, "") {
			got = append(got, target.Key)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// TestTargets_eachHasItsSignal: the signal comes from the target's entry, or from
// SECRETSYNC_SIGNAL.
func TestTargets_eachHasItsSignal(t *testing.T) {
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
		cfg := loadConfig(t, map[string]string{
			"SECRETSYNC_SIGNAL": "TERM", "SECRETSYNC_SIGNAL_CHECK": "false", "SECRETSYNC_PROCESS_MIN_AGE": "0",
			"SECRETSYNC_PID_FILE": pidFile + own,
		})
		target := newTargets(cfg, notifier.NewInterval(0), slog.New(slog.DiscardHandler), func(string, string) {})[0]
		// The kernel may still be executing the program, which Notify takes for a replacement.
		testsupport.Eventually(t, "a notification", func() error {
			return target.Notify(t.Context(), notifier.Changes{})
		})
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != want {
			t.Errorf("%q: the process ended by %v, want %v", own, err, want)
		}
	}
}
