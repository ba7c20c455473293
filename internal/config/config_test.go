package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/notifier/webhook"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// environ replaces the environment by a valid environment, changed by the given entries. An
// entry NAME=value sets a variable. A NAME alone unsets it.
func environ(t *testing.T, assignments ...string) {
	t.Helper()
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		upper := strings.ToUpper(name)
		if strings.Contains(upper, "SYNC_") || strings.HasPrefix(upper, "SECRET") || strings.HasPrefix(upper, "POD_") {
			unset(t, name)
		}
	}
	t.Setenv(podNamespace, "prod")
	t.Setenv(prefix+"SECRETS", "db,tls")
	for _, assignment := range assignments {
		name, value, set := strings.Cut(assignment, "=")
		if !set {
			unset(t, name)
			continue
		}
		t.Setenv(name, value)
	}
}

// unset takes a variable away for this test.
func unset(t *testing.T, name string) {
	t.Helper()
	t.Setenv(name, "") // restores it afterwards
	if err := os.Unsetenv(name); err != nil {
		t.Fatal(err)
	}
}

const (
	prefix       = "SECRETSYNC_"
	podNamespace = "POD_NAMESPACE"
	dirName      = prefix + "DIR"
)

// loaded returns the value of each field of Config, except lists as text.
func loaded(t *testing.T) map[string]any {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	config := reflect.ValueOf(c).Elem()
	for _, field := range reflect.VisibleFields(config.Type()) {
		if !field.Anonymous && field.Type != reflect.TypeFor[List]() {
			values[field.Name] = config.FieldByIndex(field.Index).Interface()
		}
	}
	return values
}

// compare expects the zero value of each field absent from want.
func compare(t *testing.T, got, want map[string]any) {
	t.Helper()
	for field, value := range got {
		expected, ok := want[field]
		if !ok {
			expected = reflect.Zero(reflect.TypeOf(value)).Interface()
		}
		if !reflect.DeepEqual(value, expected) {
			t.Errorf("%s: got %#v, want %#v", field, value, expected)
		}
	}
	for field := range want {
		if _, ok := got[field]; !ok {
			t.Errorf("there is no field %s", field)
		}
	}
}

// loadProblems returns the problems found by Load.
func loadProblems(t *testing.T) (all []*Problem) {
	t.Helper()
	_, err := Load()
	if err == nil {
		return nil
	}
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		var problem *Problem
		if !errors.As(one, &problem) || problem.Error() != one.Error() {
			t.Fatalf("Load: got %T %v, want a *Problem", one, one)
		}
		all = append(all, problem)
	}
	return all
}

// loadText returns the text of Load's error.
func loadText(t *testing.T) string {
	t.Helper()
	_, err := Load()
	return fmt.Sprint(err)
}

func TestLoad_defaults(t *testing.T) {
	environ(t)
	compare(t, loaded(t), map[string]any{
		"Pod": podVariables{Namespace: "prod"}, "Secrets": []string{"db", "tls"}, "Layout": generation.Nested,
		"Items": layout.Items{}, "RequiredKeys": map[string][]string{},
		"Dir": "/secrets", "FileMode": fs.FileMode(0o644), "OnDelete": "keep", "Signal": "HUP", "SignalCheck": true,
		"SignalExitCheck": true, "SignalInterval": 500 * time.Millisecond, "ProcessMinAge": 5 * time.Second,
		"WebhookMethod": "POST", "WebhookTimeout": 5 * time.Second, "ExecTimeout": 30 * time.Second,
		"HTTPAddr": ":29808", "LogOutput": "stderr", "LogFormat": "json",
	})
}

// TestLoad_emptyIsTheDefault: manifests often contain `value: ""`.
func TestLoad_emptyIsTheDefault(t *testing.T) {
	environ(t)
	want := loaded(t)
	for _, name := range variableNames() {
		if name != podNamespace && name != prefix+"SECRETS" && name != httpAddr {
			t.Setenv(name, " ")
		}
	}
	compare(t, loaded(t), want)
}

func TestLoad_everythingSet(t *testing.T) {
	environ(t, "POD_NAME=app-0", "POD_UID=a-b-c", "POD_SERVICE_ACCOUNT=reader",
		"SECRETSYNC_SECRETS= db , tls,db,", "SECRETSYNC_OPTIONAL_SECRETS=extra",
		"SECRETSYNC_SELECTOR= app=x,tier in (a, b)\n",
		"SECRETSYNC_ITEMS=db/password=db/pass=word, db/user=db/user,db/user+password=b,other/.x=x,",
		"SECRETSYNC_ENV_FILES=db=db.env, tls/a+b=tls.env:0600",
		"SECRETSYNC_REQUIRED_KEYS=db/password,db/user,tls/tls.key",
		"SECRETSYNC_DIR=/run/s/", "SECRETSYNC_LAYOUT=flat", "SECRETSYNC_FILE_MODE=040",
		"SECRETSYNC_ON_DELETE=remove", "SECRETSYNC_SETTLE=250ms",
		"SECRETSYNC_PROCESS=nginx, a:b:TERM,nginx", "SECRETSYNC_PID_FILE=/run/app.pid,/run/x:y.pid:usr2",
		"SECRETSYNC_SIGNAL=sigusr1", "SECRETSYNC_SIGNAL_CHECK=0",
		"SECRETSYNC_SIGNAL_EXIT_CHECK=0", "SECRETSYNC_SIGNAL_INTERVAL=0",
		"SECRETSYNC_PROCESS_MIN_AGE=0",
		"SECRETSYNC_WEBHOOK_URL=https://app:8443/reload?k=v,https://b/x%2Cy",
		"SECRETSYNC_WEBHOOK_METHOD=PUT", "SECRETSYNC_WEBHOOK_TIMEOUT=1m",
		"SECRETSYNC_WEBHOOK_CA_FILE=/ca/ca.crt", "SECRETSYNC_WEBHOOK_TOKEN_FILE=/token/token",
		`SECRETSYNC_EXEC=["nginx","-s",""]`, "SECRETSYNC_EXEC_TIMEOUT=1s",
		"SECRETSYNC_SPLAY=30s", "SECRETSYNC_NOTIFY_FIRST=T", "SECRETSYNC_SYNC_TIMEOUT=2m",
		"SECRETSYNC_EVENTS=TRUE", "SECRETSYNC_HTTP_ADDR=",
		"SECRETSYNC_LOG_LEVEL=debug", "SECRETSYNC_LOG_OUTPUT=stdout", "SECRETSYNC_LOG_FORMAT=text")
	compare(t, loaded(t), map[string]any{
		"Pod":     podVariables{Namespace: "prod", Name: "app-0", UID: "a-b-c", ServiceAccount: "reader"},
		"Secrets": []string{"db", "tls"}, "OptionalSecrets": []string{"extra"}, "Selector": "app=x,tier in (a, b)",
		"Items": layout.Items{
			"db": {
				{Path: "db/pass=word", Keys: []string{"password"}}, {Path: "db/user", Keys: []string{"user"}},
				{Path: "b", Keys: []string{"user", "password"}}, {Path: "db.env", Env: true},
			},
			"other": {{Path: "x", Keys: []string{".x"}}},
			"tls":   {{Path: "tls.env", Keys: []string{"a", "b"}, Env: true, Mode: 0o600}},
		},
		"RequiredKeys": map[string][]string{"db": {"password", "user"}, "tls": {"tls.key"}},
		"Dir":          "/run/s", "Layout": generation.Flat, "FileMode": fs.FileMode(0o440), "OnDelete": "remove",
		"Signal":        "sigusr1",
		"Settle":        250 * time.Millisecond,
		"Processes":     []SignalTarget{{"nginx", syscall.SIGUSR1}, {"a:b", syscall.SIGTERM}},
		"PIDFiles":      []SignalTarget{{"/run/app.pid", syscall.SIGUSR1}, {"/run/x:y.pid", syscall.SIGUSR2}},
		"Webhooks":      parsed(t, "https://app:8443/reload?k=v", "https://b/x%2Cy"),
		"WebhookMethod": "PUT", "WebhookTimeout": time.Minute,
		"WebhookCAFile": "/ca/ca.crt", "WebhookTokenFile": "/token/token",
		"Exec": []string{"nginx", "-s", ""}, "ExecTimeout": time.Second,
		"Splay": 30 * time.Second, "NotifyFirst": true, "SyncTimeout": 2 * time.Minute, "Events": true,
		"LogLevel": slog.LevelDebug, "LogOutput": "stdout", "LogFormat": "text",
	})
}

func parsed(t *testing.T, all ...string) (urls []*webhook.URL) {
	t.Helper()
	for _, s := range all {
		u, err := webhook.ParseURL(s)
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, u)
	}
	return urls
}

func TestLoad_emptyHTTPAddrIsNoServer(t *testing.T) {
	for _, tt := range []struct{ assignment, want string }{
		{"SECRETSYNC_HTTP_ADDR", ":29808"},
		{"SECRETSYNC_HTTP_ADDR=", ""},
		{"SECRETSYNC_HTTP_ADDR= ", ""},
		{"SECRETSYNC_HTTP_ADDR=127.0.0.1:0", "127.0.0.1:0"},
	} {
		environ(t, tt.assignment)
		if got, err := Load(); err != nil || got.HTTPAddr != tt.want {
			t.Errorf("%q: got %+v, %v, want %q", tt.assignment, got, err, tt.want)
		}
	}
}

func TestLoad_oneShotHasNoServer(t *testing.T) {
	environ(t, "SECRETSYNC_ONE_SHOT=true", "SECRETSYNC_HTTP_ADDR=:1")
	if got, err := Load(); err != nil || got.HTTPAddr != "" || !got.OneShot {
		t.Errorf("got %+v, %v, want none", got, err)
	}
}

// TestLoad_checksEveryType sets each bool, duration and choice to a value that envconfig cannot
// parse. Load must report this variable, and still read the others.
func TestLoad_checksEveryType(t *testing.T) {
	config := reflect.TypeFor[syncVariables]()
	var names []string
	for line := range strings.Lines(usage(t, "{{range .}}{{usage_key .}} {{.Name}}\n{{end}}")) {
		name, field, _ := strings.Cut(strings.TrimSpace(line), " ")
		f, ok := config.FieldByName(field)
		choice := ok && f.Type == reflect.TypeFor[generation.Layout]()
		if strings.HasPrefix(name, prefix) && (choice || f.Type.Kind() != reflect.String) {
			names = append(names, name)
		}
	}
	if len(names) < 14 {
		t.Fatalf("got only %q", names)
	}
	for _, name := range names {
		oneProblem(t, []string{name + "=x", "SECRETSYNC_LOG_FORMAT=text"}, name, `Invalid value: "x": must be`)
		if c, _ := Load(); c.LogFormat != "text" || c.SignalInterval == 0 || os.Getenv(name) != "x" {
			t.Errorf("%s: got %+v and %q, want the other variables and an unchanged environment",
				name, c, os.Getenv(name))
		}
	}
}

func TestLoad_returnsInvalidValues(t *testing.T) {
	environ(t, podNamespace, "SECRETSYNC_SECRETS", "SECRETSYNC_LAYOUT=round", "SECRETSYNC_NONSENSE=1")
	for value, want := range map[string]string{"": "/secrets", "/run/s/": "/run/s", "relative": "relative", "/": "/"} {
		t.Setenv(dirName, value)
		if got, err := Load(); got.Dir != want || err == nil {
			t.Errorf("%q: got %q, %v, want %q and an error", value, got.Dir, err, want)
		}
	}
}

func TestLoad_reportsAllProblemsInOrder(t *testing.T) {
	environ(t, podNamespace, "SECRETSYNC_SECRETS=Db,tls,a_b", "SECRETSYNC_LOG_FORMAT=xml", "SECRETSYNC_LAYOUT=round",
		"SECRETSYNC_EVENTS=true", "SECRETSYNC_ZEBRA=1", "SECRETSYNC_SECRET=1", "SECRETSYNC_SETTLE=-1s")
	got := loadText(t)
	field := func(name, path string) string {
		return "add to the env of the container: - {name: " + name +
			", valueFrom: {fieldRef: {fieldPath: " + path + "}}}\n"
	}
	const invalidName = "not a valid name of a Secret (a-z, 0-9, - and ., at most 253 characters); " +
		"must be names of Secrets, comma-separated\n"
	want := "POD_NAMESPACE: Required value: " + field("POD_NAMESPACE", "metadata.namespace") +
		"POD_NAME: Required value: SECRETSYNC_EVENTS is true; " + field("POD_NAME", "metadata.name") +
		"POD_UID: Required value: SECRETSYNC_EVENTS is true; " + field("POD_UID", "metadata.uid") +
		`SECRETSYNC_SECRETS: Invalid value: "Db": ` + invalidName +
		`SECRETSYNC_SECRETS: Invalid value: "a_b": ` + invalidName +
		`SECRETSYNC_LAYOUT: Invalid value: "round": must be nested or flat
SECRETSYNC_SETTLE: Invalid value: "-1s": must be a time with its unit, such as 1500ms or 2m, from 0s to 8760h
SECRETSYNC_LOG_FORMAT: Invalid value: "xml": must be json or text
SECRETSYNC_ZEBRA: unknown variable; secret-sync help lists the variables
SECRETSYNC_SECRET: unknown variable; did you mean SECRETSYNC_SECRETS?`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestItems_modes(t *testing.T) {
	environ(t, "SECRETSYNC_ITEMS=db/a=a:0600,db/b=b:c:40,db/c=d:e,tls/k=x/k:0o640", "SECRETSYNC_SELECTOR=app=x")
	want := layout.Items{
		"db": {
			{Path: "a", Keys: []string{"a"}, Mode: 0o600}, {Path: "b:c", Keys: []string{"b"}, Mode: 0o440},
			{Path: "d:e", Keys: []string{"c"}},
		},
		"tls": {{Path: "x/k:0o640", Keys: []string{"k"}}},
	}
	if got := loaded(t)["Items"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got items %v, want %v", got, want)
	}
	for _, wrong := range []string{"0888", "1777", "4755", "99999999999999999999"} {
		env := []string{"SECRETSYNC_ITEMS=db/a=a:" + wrong, "SECRETSYNC_SELECTOR=app=x"}
		oneProblem(t, env, "SECRETSYNC_ITEMS", "0 to 0777")
	}
}
