package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// execute runs the plugin without a kubeconfig, and returns its output and its exit code.
func execute(t *testing.T, in string, args ...string) (out, errOut string, code int) {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "absent"))
	streams, stdin, stdout, stderr := genericiooptions.NewTestIOStreams()
	stdin.WriteString(in)
	if !strings.HasPrefix(args[0], "kubectl") {
		args = append([]string{"kubectl-secret_sync"}, args...)
	}
	code = run(t.Context(), args, streams)
	return stdout.String(), stderr.String(), code
}

func TestRun_usage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"rbca", `unknown command "rbca"; did you mean rbac?`},
		{"apply", `unknown command "apply"; kubectl secret-sync --help lists the commands`},
		{"rbac app web", `unexpected argument "web"`},
		{"rbac --selector a=b", "unknown flag: --selector"},
		{"wait db", `unexpected argument "db"; the flag for the Secret is --secret`},
		{"status secret/db", `"secret/db": must be the name of a Secret, such as db`},
		{"status", "the name of the Secret is missing"},
	} {
		_, errOut, code := execute(t, "", strings.Fields(c.args)...)
		if code != 2 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: got code %d and %q, want 2 and %q", c.args, code, errOut, c.want)
		}
	}
}

// TestRun_noCluster: each command that needs a cluster names the flags, instead of a connection to this machine. An
// invalid kubeconfig is an invalid argument of each command.
func TestRun_noCluster(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(broken, []byte("clusters: [a"), 0o600); err != nil {
		t.Fatal(err)
	}
	const none = "invalid arguments: no cluster is configured: set KUBECONFIG, --kubeconfig or --server"
	for _, c := range []struct{ args, want string }{
		{"status db", none},
		{"status db -A", none},
		{"wait --secret db", none},
		{"check deployment/app", none},
		{"status db --context other", `invalid arguments: context "other" does not exist`},
		{"status db --kubeconfig " + broken, `invalid arguments: error loading config file`},
		{"wait --secret db --kubeconfig " + broken, `invalid arguments: error loading config file`},
		{"rbac app --kubeconfig " + broken, `invalid arguments: error loading config file`},
	} {
		_, errOut, code := execute(t, "", strings.Fields(c.args)...)
		if code != 2 || !strings.Contains(errOut, c.want) || strings.Count(errOut, "invalid arguments") > 1 {
			t.Errorf("%s: got code %d and %q, want 2 and %q", c.args, code, errOut, c.want)
		}
	}
}

// TestRun_completion: a link to the program with the name that kubectl looks for completes
// commands and flags.
func TestRun_completion(t *testing.T) {
	for _, c := range []struct{ word, want string }{{"rb", "rbac\t"}, {"--kubec", "--kubeconfig\t"}} {
		out, _, code := execute(t, "", "kubectl_complete-secret_sync", c.word)
		if code != 0 || !strings.HasPrefix(out, c.want) {
			t.Errorf("%s: got code %d and %q, want %q", c.word, code, out, c.want)
		}
	}
}

// sidecar is the path of the sidecar's program.
var sidecar = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sidecar")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "secret-sync")
	return path, exec.Command("go", "build", "-C", "../..", "-o", path, ".").Run()
})

// TestRBAC_events: a Role requires no name of a Pod, and the flag takes precedence over the variable.
func TestRBAC_events(t *testing.T) {
	for name, value := range map[string]string{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_EVENTS": "true",
		"POD_NAMESPACE": "other", "POD_NAME": "", "POD_UID": "",
	} {
		t.Setenv(name, value)
	}
	out, errOut, code := execute(t, "", "rbac", "app", "-n", "shop")
	if code != 0 || !strings.Contains(out, "[events]") || !strings.Contains(out, `namespace: "shop"`) {
		t.Errorf("got code %d, %s%s\nwant a Role for Events in the namespace shop", code, out, errOut)
	}
}

// TestRBAC_equalsSidecar: both programs print the same for the same variables and arguments,
// and reject the same mistakes.
func TestRBAC_equalsSidecar(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the sidecar runs only on Linux")
	}
	path, err := sidecar()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(path)) })
	for _, c := range []struct{ name, env, args string }{
		{"names", "SECRETSYNC_SECRETS=db,cache", "app"},
		{"a name twice", "SECRETSYNC_SECRETS=db,db", "app"},
		{"a misspelled variable", "SECRETSYNC_SECRETS=db SECRETSYNC_SECRET=web", "app"},
		{"invalid values", "SECRETSYNC_SECRETS=db SECRETSYNC_LAYOUT=round SECRETSYNC_SIGNAL=HUB", "app"},
		{"a variable of a Service", "SECRETSYNC_SECRETS=db SECRETSYNC_SERVICE_HOST=10.0.0.1", "app"},
		{"an empty entry at the end", "SECRETSYNC_SECRETS=db,", "app"},
		{"optional", "SECRETSYNC_OPTIONAL_SECRETS=tls SECRETSYNC_EVENTS=true POD_NAME=a POD_UID=b", ""},
		{"selector", "SECRETSYNC_SELECTOR=team=a POD_SERVICE_ACCOUNT=web", ""},
		{"the account default", "SECRETSYNC_SECRETS=db POD_SERVICE_ACCOUNT=default", ""},
		{"wait", "", "--wait deployer --secret db -n shop"},
		{"wait for any Secret", "", "--wait deployer -n shop"},
		{"no Secret", "", "app"},
		{"an invalid name", "SECRETSYNC_SECRETS=DB", "app"},
		{"an invalid selector", "SECRETSYNC_SELECTOR=a=b=c", "app"},
		{"an empty selector", "SECRETSYNC_SELECTOR=,", "app"},
		{"an invalid truth value", "SECRETSYNC_SECRETS=db SECRETSYNC_EVENTS=yes", "app"},
		{"the argument default", "SECRETSYNC_SECRETS=db", "default"},
		{"an invalid account", "SECRETSYNC_SECRETS=db", "a_b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := append(strings.Fields(c.env), "POD_NAMESPACE=shop")
			t.Setenv("POD_NAME", "") // the plugin sets both: t restores them
			t.Setenv("POD_UID", "")
			for _, assignment := range env {
				name, value, _ := strings.Cut(assignment, "=")
				t.Setenv(name, value)
			}
			args := append([]string{"rbac"}, strings.Fields(c.args)...)
			cmd := exec.Command(path, args...)
			var want, wantErr bytes.Buffer
			cmd.Env, cmd.Stdout, cmd.Stderr = env, &want, &wantErr
			_ = cmd.Run()
			got, gotErr, code := execute(t, "", args...)
			gotErr = strings.Replace(gotErr, "invalid arguments: ", "", 1)
			if got != want.String() || gotErr != wantErr.String() || code != cmd.ProcessState.ExitCode() {
				t.Errorf("got code %d, %s%s\nwant code %d, %s%s", code, got, gotErr,
					cmd.ProcessState.ExitCode(), want.String(), wantErr.String())
			}
		})
	}
}
