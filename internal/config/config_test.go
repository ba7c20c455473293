package config

import (
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// environ makes the environment nothing but what is given, as NAME=value, over
// one that is right. A NAME alone is not set.
func environ(t *testing.T, assignments ...string) {
	t.Helper()
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		if strings.HasPrefix(name, prefix) || strings.HasPrefix(name, "POD_") {
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

// mistakesOf gives what Load finds, nothing for a valid environment.
func mistakesOf(t *testing.T) MistakesError {
	t.Helper()
	_, err := Load()
	var mistakes MistakesError
	if err != nil && !errors.As(err, &mistakes) {
		t.Fatalf("Load: got %T %v, want a MistakesError", err, err)
	}
	return mistakes
}

func TestDefaults(t *testing.T) {
	environ(t)
	got, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Namespace: "prod", Secrets: []string{"db", "tls"},
		Items: map[string]map[string]string{}, RequiredKeys: map[string][]string{},
		Dir: "/secrets", FileMode: 0o644,
		Signal: syscall.SIGHUP, SignalCheck: true, ProcessMinAge: 5 * time.Second,
		WebhookMethod: "POST", WebhookTimeout: 5 * time.Second, ExecTimeout: 30 * time.Second,
		HTTPAddr: ":29808", LogLevel: slog.LevelInfo,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Manifests are full of `value: ""`.
func TestSetToNothingIsTheDefault(t *testing.T) {
	environ(t)
	want, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Variables() {
		if v.Name != podNamespace && v.Name != prefix+"SECRETS" && v.Name != httpAddr {
			t.Setenv(v.Name, " ")
		}
	}
	got, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEverythingSet(t *testing.T) {
	environ(t, "POD_NAME=app-0", "POD_UID=a-b-c", "POD_SERVICE_ACCOUNT=reader",
		"SECRETSYNC_SECRETS= db , tls,db,", "SECRETSYNC_OPTIONAL_SECRETS=extra", "SECRETSYNC_SELECTOR= app=x,tier in (a, b)\n",
		"SECRETSYNC_ITEMS=db/password=db/pass=word, db/user=db/user,other/.x=x,", "SECRETSYNC_REQUIRED_KEYS=db/password,db/user,tls/tls.key",
		"SECRETSYNC_DIR=/run/s/", "SECRETSYNC_LAYOUT=flat", "SECRETSYNC_FILE_MODE=040", "SECRETSYNC_ON_DELETE=remove", "SECRETSYNC_SETTLE=250ms",
		"SECRETSYNC_PID_FILE=/run/app.pid", "SECRETSYNC_SIGNAL=sigusr1", "SECRETSYNC_SIGNAL_CHECK=0", "SECRETSYNC_PROCESS_MIN_AGE=0",
		"SECRETSYNC_WEBHOOK_URL=https://user:pw@app:8443/reload?k=v", "SECRETSYNC_WEBHOOK_METHOD=PUT", "SECRETSYNC_WEBHOOK_TIMEOUT=1m",
		"SECRETSYNC_WEBHOOK_CA_FILE=/ca/ca.crt", "SECRETSYNC_WEBHOOK_TOKEN_FILE=/token/token",
		`SECRETSYNC_EXEC=["nginx","-s",""]`, "SECRETSYNC_EXEC_TIMEOUT=1s", "SECRETSYNC_SPLAY=30s", "SECRETSYNC_NOTIFY_FIRST=T",
		"SECRETSYNC_SYNC_TIMEOUT=2m", "SECRETSYNC_EVENTS=TRUE", "SECRETSYNC_HTTP_ADDR=", "SECRETSYNC_PPROF_ADDR=[::1]:6060",
		"SECRETSYNC_LOG_LEVEL=debug", "SECRETSYNC_LOG_FORMAT=text")
	got, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Namespace: "prod", PodName: "app-0", PodUID: "a-b-c", ServiceAccount: "reader",
		Secrets: []string{"db", "tls"}, OptionalSecrets: []string{"extra"}, Selector: "app=x,tier in (a, b)",
		Items:        map[string]map[string]string{"db": {"password": "db/pass=word", "user": "db/user"}, "other": {".x": "x"}},
		RequiredKeys: map[string][]string{"db": {"password", "user"}, "tls": {"tls.key"}},
		Dir:          "/run/s", Flat: true, FileMode: 0o440, RemoveOnDelete: true, Settle: 250 * time.Millisecond,
		PIDFile: "/run/app.pid", Signal: syscall.SIGUSR1,
		WebhookURL: "https://user:pw@app:8443/reload?k=v", WebhookMethod: "PUT", WebhookTimeout: time.Minute,
		WebhookCAFile: "/ca/ca.crt", WebhookTokenFile: "/token/token",
		Exec: []string{"nginx", "-s", ""}, ExecTimeout: time.Second, Splay: 30 * time.Second, NotifyFirst: true,
		SyncTimeout: 2 * time.Minute, Events: true, PprofAddr: "[::1]:6060", LogLevel: slog.LevelDebug, LogText: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEmptyHTTPAddressIsNoServer(t *testing.T) {
	for _, tt := range []struct{ assignment, want string }{
		{"SECRETSYNC_HTTP_ADDR", ":29808"},
		{"SECRETSYNC_HTTP_ADDR=", ""},
		{"SECRETSYNC_HTTP_ADDR= ", ""},
		{"SECRETSYNC_HTTP_ADDR=127.0.0.1:0", "127.0.0.1:0"},
	} {
		environ(t, tt.assignment)
		if got, err := Load(); err != nil || got.HTTPAddr != tt.want {
			t.Errorf("%q: got %q, %v, want %q", tt.assignment, got.HTTPAddr, err, tt.want)
		}
	}
}

func TestOneShotHasNoServer(t *testing.T) {
	environ(t, "SECRETSYNC_ONE_SHOT=true", "SECRETSYNC_HTTP_ADDR=:1")
	if got, err := Load(); err != nil || got.HTTPAddr != "" || !got.OneShot {
		t.Errorf("got %q, %t, %v, want none", got.HTTPAddr, got.OneShot, err)
	}
}

func TestDirForReadyMindsNothingElse(t *testing.T) {
	environ(t, podNamespace, "SECRETSYNC_SECRETS", "SECRETSYNC_LAYOUT=round", "SECRETSYNC_NONSENSE=1")
	for value, want := range map[string]string{"": "/secrets", "/run/s/": "/run/s", "relative": "relative", "/": "/"} {
		t.Setenv(dirName, value)
		if got := DirForReady(); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func TestSeveralMistakesAtOnceInTableOrder(t *testing.T) {
	environ(t, podNamespace, "SECRETSYNC_SECRETS=Db,tls,a_b", "SECRETSYNC_LOG_FORMAT=xml", "SECRETSYNC_LAYOUT=round", "SECRETSYNC_EVENTS=true",
		"SECRETSYNC_ZEBRA=1", "SECRETSYNC_SECRET=1", "SECRETSYNC_SETTLE=-1s")
	got := mistakesOf(t).Error()
	want := `POD_NAMESPACE is not set; it may hold the Pod's namespace
POD_NAME is not set, and SECRETSYNC_EVENTS is true; it may hold the Pod's metadata.name
POD_UID is not set, and SECRETSYNC_EVENTS is true; it may hold the Pod's metadata.uid
SECRETSYNC_SECRETS holds "Db": not a name that a Secret can have (a-z, 0-9, - and ., at most 253); it may hold names of Secrets, comma-separated
SECRETSYNC_SECRETS holds "a_b": not a name that a Secret can have (a-z, 0-9, - and ., at most 253); it may hold names of Secrets, comma-separated
SECRETSYNC_LAYOUT holds "round"; it may hold nested or flat
SECRETSYNC_SETTLE holds "-1s"; it may hold a time with its unit such as 0s, 1500ms or 2m, not negative, at most 8760h
SECRETSYNC_LOG_FORMAT holds "xml"; it may hold json or text
SECRETSYNC_SECRET is not a variable of secret-sync; did you mean SECRETSYNC_SECRETS?
SECRETSYNC_ZEBRA is not a variable of secret-sync; secret-sync help lists them
add to the container of secret-sync:
        env:
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: POD_UID
          valueFrom:
            fieldRef:
              fieldPath: metadata.uid`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
