package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/secret-sync/secret-sync/notifier/webhook"
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

const (
	podNamespace = "POD_NAMESPACE"
	dirName      = prefix + "DIR"
	httpAddr     = prefix + "HTTP_ADDR"
)

// loaded returns the value of each field of Config.
func loaded(t *testing.T) map[string]any {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	fields := reflect.ValueOf(c).Elem()
	for i := range fields.NumField() {
		values[fields.Type().Field(i).Name] = fields.Field(i).FieldByName("Value").Interface()
	}
	return values
}

// compare expects the zero value of each field that want does not have.
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

// problems returns what Load finds, nothing for a valid environment.
func problems(t *testing.T) (all []*field.Error) {
	t.Helper()
	_, err := Load()
	if err == nil {
		return nil
	}
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		var problem *field.Error
		if !errors.As(one, &problem) || problem.Error() != one.Error() {
			t.Fatalf("Load: got %T %v, want a *field.Error", one, one)
		}
		all = append(all, problem)
	}
	return all
}

// text is what Load's error says.
func text(t *testing.T) string {
	t.Helper()
	_, err := Load()
	return fmt.Sprint(err)
}

func TestDefaults(t *testing.T) {
	environ(t)
	compare(t, loaded(t), map[string]any{
		"Namespace": "prod", "Secrets": []string{"db", "tls"},
		"Dir": "/secrets", "Layout": "nested", "FileMode": fs.FileMode(0o644), "OnDelete": "keep",
		"Signal": syscall.SIGHUP, "SignalCheck": true, "ProcessMinAge": 5 * time.Second,
		"WebhookMethod": "POST", "WebhookTimeout": 5 * time.Second, "ExecTimeout": 30 * time.Second,
		"HTTPAddr": ":29808", "LogLevel": "info", "LogFormat": "json",
	})
}

// Manifests are full of `value: ""`.
func TestSetToNothingIsTheDefault(t *testing.T) {
	environ(t)
	want := loaded(t)
	for _, v := range Variables() {
		if v.Name != podNamespace && v.Name != prefix+"SECRETS" && v.Name != httpAddr {
			t.Setenv(v.Name, " ")
		}
	}
	compare(t, loaded(t), want)
}

func TestEverythingSet(t *testing.T) {
	environ(t, "POD_NAME=app-0", "POD_UID=a-b-c", "POD_SERVICE_ACCOUNT=reader",
		"SECRETSYNC_SECRETS= db , tls,db,", "SECRETSYNC_OPTIONAL_SECRETS=extra", "SECRETSYNC_SELECTOR= app=x,tier in (a, b)\n",
		"SECRETSYNC_ITEMS=db/password=db/pass=word, db/user=db/user,other/.x=x,", "SECRETSYNC_REQUIRED_KEYS=db/password,db/user,tls/tls.key",
		"SECRETSYNC_DIR=/run/s/", "SECRETSYNC_LAYOUT=flat", "SECRETSYNC_FILE_MODE=040", "SECRETSYNC_ON_DELETE=remove", "SECRETSYNC_SETTLE=250ms",
		"SECRETSYNC_PROCESS=nginx, a:b:TERM,nginx", "SECRETSYNC_PID_FILE=/run/app.pid,/run/x:y.pid:usr2", "SECRETSYNC_SIGNAL=sigusr1", "SECRETSYNC_SIGNAL_CHECK=0", "SECRETSYNC_PROCESS_MIN_AGE=0",
		"SECRETSYNC_WEBHOOK_URL=https://app:8443/reload?k=v,https://b/x%2Cy", "SECRETSYNC_WEBHOOK_METHOD=PUT", "SECRETSYNC_WEBHOOK_TIMEOUT=1m",
		"SECRETSYNC_WEBHOOK_CA_FILE=/ca/ca.crt", "SECRETSYNC_WEBHOOK_TOKEN_FILE=/token/token",
		`SECRETSYNC_EXEC=["nginx","-s",""]`, "SECRETSYNC_EXEC_TIMEOUT=1s", "SECRETSYNC_SPLAY=30s", "SECRETSYNC_NOTIFY_FIRST=T",
		"SECRETSYNC_SYNC_TIMEOUT=2m", "SECRETSYNC_EVENTS=TRUE", "SECRETSYNC_HTTP_ADDR=", "SECRETSYNC_PPROF_ADDR=[::1]:6060",
		"SECRETSYNC_LOG_LEVEL=debug", "SECRETSYNC_LOG_FORMAT=text")
	compare(t, loaded(t), map[string]any{
		"Namespace": "prod", "PodName": "app-0", "PodUID": "a-b-c", "ServiceAccount": "reader",
		"Secrets": []string{"db", "tls"}, "OptionalSecrets": []string{"extra"}, "Selector": "app=x,tier in (a, b)",
		"Items":        map[string]map[string]string{"db": {"password": "db/pass=word", "user": "db/user"}, "other": {".x": "x"}},
		"RequiredKeys": map[string][]string{"db": {"password", "user"}, "tls": {"tls.key"}},
		"Dir":          "/run/s", "Layout": "flat", "FileMode": fs.FileMode(0o440), "OnDelete": "remove", "Settle": 250 * time.Millisecond,
		"Process": []Signalled{{"nginx", 0}, {"a:b", syscall.SIGTERM}},
		"PIDFile": []Signalled{{"/run/app.pid", 0}, {"/run/x:y.pid", syscall.SIGUSR2}}, "Signal": syscall.SIGUSR1,
		"WebhookURL": parsed(t, "https://app:8443/reload?k=v", "https://b/x%2Cy"), "WebhookMethod": "PUT", "WebhookTimeout": time.Minute,
		"WebhookCAFile": "/ca/ca.crt", "WebhookTokenFile": "/token/token",
		"Exec": []string{"nginx", "-s", ""}, "ExecTimeout": time.Second, "Splay": 30 * time.Second, "NotifyFirst": true,
		"SyncTimeout": 2 * time.Minute, "Events": true, "PprofAddr": "[::1]:6060", "LogLevel": "debug", "LogFormat": "text",
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

func TestEmptyHTTPAddressIsNoServer(t *testing.T) {
	for _, tt := range []struct{ assignment, want string }{
		{"SECRETSYNC_HTTP_ADDR", ":29808"},
		{"SECRETSYNC_HTTP_ADDR=", ""},
		{"SECRETSYNC_HTTP_ADDR= ", ""},
		{"SECRETSYNC_HTTP_ADDR=127.0.0.1:0", "127.0.0.1:0"},
	} {
		environ(t, tt.assignment)
		if got, err := Load(); err != nil || got.HTTPAddr.Value != tt.want {
			t.Errorf("%q: got %+v, %v, want %q", tt.assignment, got, err, tt.want)
		}
	}
}

func TestOneShotHasNoServer(t *testing.T) {
	environ(t, "SECRETSYNC_ONE_SHOT=true", "SECRETSYNC_HTTP_ADDR=:1")
	if got, err := Load(); err != nil || got.HTTPAddr.Value != "" || !got.OneShot.Value {
		t.Errorf("got %+v, %v, want none", got, err)
	}
}

func TestLoadGivesWhatIsRight(t *testing.T) {
	environ(t, podNamespace, "SECRETSYNC_SECRETS", "SECRETSYNC_LAYOUT=round", "SECRETSYNC_NONSENSE=1")
	for value, want := range map[string]string{"": "/secrets", "/run/s/": "/run/s", "relative": "relative", "/": "/"} {
		t.Setenv(dirName, value)
		if got, err := Load(); got.Dir.Value != want || err == nil {
			t.Errorf("%q: got %q, %v, want %q and an error", value, got.Dir.Value, err, want)
		}
	}
}

func TestSeveralProblemsAtOnceInTableOrder(t *testing.T) {
	environ(t, podNamespace, "SECRETSYNC_SECRETS=Db,tls,a_b", "SECRETSYNC_LOG_FORMAT=xml", "SECRETSYNC_LAYOUT=round", "SECRETSYNC_EVENTS=true",
		"SECRETSYNC_ZEBRA=1", "SECRETSYNC_SECRET=1", "SECRETSYNC_SETTLE=-1s")
	got := text(t)
	want := `POD_NAMESPACE: Required value: the Pod's metadata.namespace; add to the env of the container: - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
POD_NAME: Required value: SECRETSYNC_EVENTS is true, and needs the Pod's metadata.name; add to the env of the container: - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
POD_UID: Required value: SECRETSYNC_EVENTS is true, and needs the Pod's metadata.uid; add to the env of the container: - {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
SECRETSYNC_SECRETS: Invalid value: "Db": not a name that a Secret can have (a-z, 0-9, - and ., at most 253); must be names of Secrets, comma-separated
SECRETSYNC_SECRETS: Invalid value: "a_b": not a name that a Secret can have (a-z, 0-9, - and ., at most 253); must be names of Secrets, comma-separated
SECRETSYNC_LAYOUT: Invalid value: "round": must be nested or flat
SECRETSYNC_SETTLE: Invalid value: "-1s": must be a time with its unit such as 0s, 1500ms or 2m, not negative, at most 8760h
SECRETSYNC_LOG_FORMAT: Invalid value: "xml": must be json or text
SECRETSYNC_ZEBRA: Forbidden: this is not a variable of secret-sync; secret-sync help lists them
SECRETSYNC_SECRET: Forbidden: this is not a variable of secret-sync; did you mean SECRETSYNC_SECRETS?`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestItemsWithModes(t *testing.T) {
	environ(t, "SECRETSYNC_ITEMS=db/a=a:0600,db/b=b:c:40,db/c=d:e,tls/k=x/k:0o640", "SECRETSYNC_SELECTOR=app=x")
	got := loaded(t)
	wantItems := map[string]map[string]string{"db": {"a": "a", "b": "b:c", "c": "d:e"}, "tls": {"k": "x/k:0o640"}}
	if !reflect.DeepEqual(got["Items"], wantItems) {
		t.Errorf("got items %v, want %v", got["Items"], wantItems)
	}
	c, err := Load()
	wantModes := map[string]map[string]fs.FileMode{"db": {"a": 0o600, "b:c": 0o440}}
	if err != nil || !reflect.DeepEqual(c.Items.Modes, wantModes) {
		t.Errorf("got modes %v, %v, want %v", c.Items.Modes, err, wantModes)
	}
	for _, wrong := range []string{"0888", "1777", "4755", "99999999999999999999"} {
		oneProblem(t, []string{"SECRETSYNC_ITEMS=db/a=a:" + wrong, "SECRETSYNC_SELECTOR=app=x"}, "SECRETSYNC_ITEMS", "0 to 0777")
	}
}
