package main

import (
	"encoding/json"

	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestREADME_runtimes: the README names the runtimes and the signals in the table of
// docs/notifications.md.
func TestREADME_runtimes(t *testing.T) {
	_, readme, _ := strings.Cut(readFile(t, "README.md"), "**these runtimes install handlers")
	readme, _, _ = strings.Cut(readme, "Register your own")
	_, table, _ := strings.Cut(readFile(t, "docs/notifications.md"), "| runtime | handlers at start |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")[2:]
	for _, row := range rows {
		runtime, handlers := strings.Fields(row)[1], strings.Split(row, "|")[2]
		entry := regexp.MustCompile(`\b` + runtime + `\b[^)]*`).FindString(readme)
		if handlers = strings.TrimSpace(handlers); handlers != "none" && !strings.HasSuffix(entry, "("+handlers) {
			t.Errorf("the README lacks %s (%s)", runtime, handlers)
		}
	}
	if len(rows) < 7 {
		t.Errorf("the table contains %d rows, want at least 7", len(rows))
	}
}

// TestCI_runsTheCommandsOfTheREADME: CI runs the commands in the README.
func TestCI_runsTheCommandsOfTheREADME(t *testing.T) {
	readme, ci := readFile(t, "README.md"), readFile(t, ".ci/run")
	for _, command := range []string{
		"go run -C examples ./quickstart",
		"go test ./... && go test -C test ./... && go test -C examples ./... && go test -C cmd/kubectl-secret_sync " +
			"./...",
	} {
		if !strings.Contains(readme, "```sh\n"+command+"\n```") {
			t.Errorf("the README lacks %q", command)
		}
		if !strings.Contains(ci, "\n"+command) {
			t.Errorf(".ci/run lacks %q", command)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SECRETSYNC_SECRETS", "db")
	typo := map[string]string{"SECRETSYNC_DIR": "/nowhere", "SECRETSYNC_SECRTS": "x"}
	for _, c := range []struct {
		args []string
		env  map[string]string
		want string // a part of the output
		err  string // a part of the error
		code int
	}{
		{args: []string{"version"}, want: "secret-sync "},
		{args: []string{"help"}, want: "SECRETSYNC_SECRETS"},
		{args: []string{"rbac"}, want: `name: "secret-sync"`},
		{args: []string{"rbac", "app"}, want: `name: "app"`},
		{args: []string{"rbac"}, env: map[string]string{"POD_SERVICE_ACCOUNT": "own"}, want: `name: "own"`},
		{args: []string{"rbac"}, env: map[string]string{"POD_SERVICE_ACCOUNT": "default"}, want: `name: "secret-sync"`},
		{args: []string{"rbac", "default"}, err: "only this Pod uses", code: 2},
		{args: []string{"rbac", "No Name"}, err: "only this Pod uses", code: 2},
		{args: []string{"rbac"}, env: map[string]string{"SECRETSYNC_SECRETS": ""}, err: "SECRETSYNC_SELECTOR", code: 2},
		{args: []string{"rbac"}, env: typo, err: "did you mean SECRETSYNC_SECRETS", code: 2},
		{args: []string{"ready"}, env: typo, err: "/nowhere", code: 1},
		{args: []string{"bogus"}, err: `unknown command "bogus"; the commands are ready, rbac`, code: 2},
		{args: []string{"version", "now"}, err: `unexpected argument "now": version has no arguments`, code: 2},
		{args: []string{"ready", "x"}, err: `unexpected argument "x": ready has no arguments`, code: 2},
		{args: []string{"status", "x"}, err: `unexpected argument "x"`, code: 2},
		{args: []string{"rbac", "app", "-x"}, err: "flag provided but not defined: -x", code: 2},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			var out strings.Builder
			err := command(c.args, &out, nil)
			if got := exitCode(err); got != c.code {
				t.Errorf("exit code: got %d, want %d (%v)", got, c.code, err)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("output: got %q, want %q in it", out.String(), c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error: got %v, want %q in it", err, c.err)
			}
		})
	}
}

// TestProcessors_one: many cores cost no memory, unless the user sets GOMAXPROCS.
func TestProcessors_one(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, c := range []struct {
		cores, want int
		variable    string
	}{{64, 1, ""}, {1, 1, ""}, {64, 64, "64"}} {
		t.Setenv("GOMAXPROCS", c.variable)
		runtime.GOMAXPROCS(c.cores)
		useOneProcessor()
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("%d cores, GOMAXPROCS=%q: got %d, want %d", c.cores, c.variable, got, c.want)
		}
	}
}

// TestMemoryLimit_ofTheContainer: the limit is 3/8 of the container's limit, unless the user sets
// GOMEMLIMIT.
func TestMemoryLimit_ofTheContainer(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	dir := t.TempDir()
	for _, c := range []struct {
		name, first, second, variable string
		want                          int64
	}{
		{name: "v2", first: "67108864\n", want: 24 << 20},
		{name: "v2 without a limit", first: "max\n", want: before},
		{name: "v1", second: "134217728\n", want: 48 << 20},
		{name: "v1 without a limit", second: "9223372036854771712\n", want: 9223372036854771712 / 8 * 3},
		{name: "no files", want: before},
		{name: "GOMEMLIMIT", first: "67108864\n", variable: "1GiB", want: before},
	} {
		t.Run(c.name, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			t.Setenv("GOMEMLIMIT", c.variable)
			files := []string{filepath.Join(dir, c.name, "max"), filepath.Join(dir, c.name, "limit")}
			if err := os.Mkdir(filepath.Join(dir, c.name), 0o755); err != nil {
				t.Fatal(err)
			}
			for i, content := range []string{c.first, c.second} {
				if content == "" {
					continue
				}
				if err := os.WriteFile(files[i], []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			limitMemory(files...)
			if got := debug.SetMemoryLimit(-1); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// TestMemoryLimit_atTheStart: the limit follows this container, or GOMEMLIMIT.
func TestMemoryLimit_atTheStart(t *testing.T) {
	own := int64(math.MaxInt64)
	for _, file := range memoryLimitFiles {
		text, _ := os.ReadFile(file)
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			own = limit / 8 * 3
			break
		}
	}
	for variable, want := range map[string]int64{"": own, "100MiB": 100 << 20} {
		var started struct {
			Limit int64 `json:"memory_limit"`
		}
		line := start(t, "http://127.0.0.1:1", t.TempDir(), "GOMEMLIMIT="+variable).waitLog(`"started"`)
		if err := json.Unmarshal([]byte(line), &started); err != nil || started.Limit != want {
			t.Errorf("GOMEMLIMIT=%q: got %s, want memory_limit %d (%v)", variable, line, want, err)
		}
	}
}
