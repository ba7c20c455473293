package config

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/kelseyhightower/envconfig"
)

// contractTable is every variable of the contract with its default, in its
// order.
var contractTable = [][2]string{
	{"POD_NAMESPACE", "required"}, {"POD_NAME", ""}, {"POD_UID", ""}, {"POD_SERVICE_ACCOUNT", ""},
	{"SECRETSYNC_SECRETS", ""}, {"SECRETSYNC_OPTIONAL_SECRETS", ""}, {"SECRETSYNC_SELECTOR", ""},
	{"SECRETSYNC_ITEMS", ""}, {"SECRETSYNC_REQUIRED_KEYS", ""},
	{"SECRETSYNC_DIR", "/secrets"}, {"SECRETSYNC_LAYOUT", "nested"}, {"SECRETSYNC_FILE_MODE", "0644"},
	{"SECRETSYNC_ON_DELETE", "keep"}, {"SECRETSYNC_SETTLE", "0s"},
	{"SECRETSYNC_PROCESS", ""}, {"SECRETSYNC_PID_FILE", ""}, {"SECRETSYNC_SIGNAL", "HUP"},
	{"SECRETSYNC_SIGNAL_CHECK", "true"}, {"SECRETSYNC_PROCESS_MIN_AGE", "5s"},
	{"SECRETSYNC_WEBHOOK_URL", ""}, {"SECRETSYNC_WEBHOOK_METHOD", "POST"}, {"SECRETSYNC_WEBHOOK_TIMEOUT", "5s"},
	{"SECRETSYNC_WEBHOOK_CA_FILE", ""}, {"SECRETSYNC_WEBHOOK_TOKEN_FILE", ""},
	{"SECRETSYNC_EXEC", ""}, {"SECRETSYNC_EXEC_TIMEOUT", "30s"},
	{"SECRETSYNC_SPLAY", "0s"}, {"SECRETSYNC_NOTIFY_FIRST", "false"}, {"SECRETSYNC_ONE_SHOT", "false"},
	{"SECRETSYNC_SYNC_TIMEOUT", "0s"}, {"SECRETSYNC_EVENTS", "false"},
	{"SECRETSYNC_HTTP_ADDR", ":29808"}, {"SECRETSYNC_PPROF_ADDR", ""},
	{"SECRETSYNC_LOG_LEVEL", "info"}, {"SECRETSYNC_LOG_FORMAT", "json"},
}

func TestVariablesAreTheContract(t *testing.T) {
	var got [][2]string
	for _, v := range Variables() {
		got = append(got, [2]string{v.Name, v.Default})
		if v.Type == "" || v.Meaning == "" || strings.ContainsAny(v.Meaning, "|\t\n") {
			t.Errorf("%+v: want a type and a meaning that fits into a table", v)
		}
	}
	if !reflect.DeepEqual(got, contractTable) {
		t.Errorf("got  %v\nwant %v", got, contractTable)
	}
}

// Variables reads the tags itself; envconfig must see the same.
func TestVariablesAreEnvconfigsUsage(t *testing.T) {
	var want bytes.Buffer
	const row = "{{range .}}{{usage_key .}}|{{usage_type .}}|{{usage_default .}}|{{usage_description .}}\n{{end}}"
	if err := envconfig.Usagef("", new(Config), &want, row); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, v := range Variables() {
		if v.Default == "required" {
			v.Default = ""
		}
		got.WriteString(strings.Join([]string{v.Name, v.Type, v.Default, v.Meaning}, "|") + "\n")
	}
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want.String())
	}
}

func TestHelpHasEveryVariable(t *testing.T) {
	var out bytes.Buffer
	if err := Help(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(contractTable)+1 {
		t.Fatalf("got %d lines, want a header and %d variables", len(lines), len(contractTable))
	}
	for i, v := range Variables() {
		got := strings.Join(strings.Fields(lines[i+1]), " ")
		want := strings.Join(strings.Fields(strings.Join([]string{v.Name, v.Type, v.Default, v.Meaning}, " ")), " ")
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestHelpTellsThatItCannotWrite(t *testing.T) {
	if err := Help(failingWriter{}); err == nil {
		t.Error("got no error")
	}
}
