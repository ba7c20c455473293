package config

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/kelseyhightower/envconfig"
)

// contractTable contains every variable of the contract with its default, in order.
var contractTable = [][2]string{
	{"POD_NAMESPACE", "required"}, {"POD_NAME", ""}, {"POD_UID", ""}, {"POD_SERVICE_ACCOUNT", ""},
	{"SECRETSYNC_SECRETS", ""}, {"SECRETSYNC_OPTIONAL_SECRETS", ""}, {"SECRETSYNC_SELECTOR", ""},
	{"SECRETSYNC_ITEMS", ""}, {"SECRETSYNC_ENV_FILES", ""}, {"SECRETSYNC_REQUIRED_KEYS", ""},
	{"SECRETSYNC_DIR", "/secrets"}, {"SECRETSYNC_LAYOUT", "nested"}, {"SECRETSYNC_FILE_MODE", "0644"},
	{"SECRETSYNC_ON_DELETE", "keep"}, {"SECRETSYNC_SETTLE", "0s"},
	{"SECRETSYNC_PROCESS", ""}, {"SECRETSYNC_PID_FILE", ""}, {"SECRETSYNC_SIGNAL", "HUP"},
	{"SECRETSYNC_SIGNAL_CHECK", "true"}, {"SECRETSYNC_SIGNAL_EXIT_CHECK", "true"},
	{"SECRETSYNC_SIGNAL_INTERVAL", "500ms"},
	{"SECRETSYNC_PROCESS_MIN_AGE", "5s"},
	{"SECRETSYNC_WEBHOOK_URL", ""}, {"SECRETSYNC_WEBHOOK_METHOD", "POST"}, {"SECRETSYNC_WEBHOOK_TIMEOUT", "5s"},
	{"SECRETSYNC_WEBHOOK_CA_FILE", ""}, {"SECRETSYNC_WEBHOOK_TOKEN_FILE", ""},
	{"SECRETSYNC_EXEC", ""}, {"SECRETSYNC_EXEC_TIMEOUT", "30s"},
	{"SECRETSYNC_SPLAY", "0s"}, {"SECRETSYNC_NOTIFY_FIRST", "false"}, {"SECRETSYNC_ONE_SHOT", "false"},
	{"SECRETSYNC_SYNC_TIMEOUT", "0s"}, {"SECRETSYNC_EVENTS", "false"},
	{"SECRETSYNC_HTTP_ADDR", ":29808"},
	{"SECRETSYNC_LOG_LEVEL", "info"}, {"SECRETSYNC_LOG_OUTPUT", "stderr"}, {"SECRETSYNC_LOG_FORMAT", "json"},
}

const (
	helpFile = "variables.txt"
	docsFile = "../../docs/configuration.md"
	// helpRow and docsRow are rows of the two tables of envconfig.Usagef.
	helpRow = "{{range .}}{{usage_key .}}\t{{usage_type .}}\t{{usage_default .}}" +
		"{{if usage_required .}}required{{end}}\t{{usage_description .}}\n{{end}}"
	docsRow = "{{range .}}| `{{usage_key .}}` | {{usage_type .}} | " +
		"{{with usage_default .}}`{{.}}`{{end}}{{if usage_required .}}required{{end}} | " +
		"{{usage_description .}} |\n{{end}}"
)

// usage returns the rows of all variables as envconfig.Usagef writes them.
func usage(t *testing.T, row string) string {
	t.Helper()
	var out bytes.Buffer
	c := &Config{}
	if err := envconfig.Usagef("pod", &c.Pod, &out, row); err != nil {
		t.Fatal(err)
	}
	if err := envconfig.Usagef("secretsync", &c.syncVariables, &out, row); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// updateDocs is set to write the generated tables instead of comparing them.
var updateDocs = os.Getenv("UPDATE_DOCS") != ""

// TestHelp_isEnvconfigsUsage: the embedded help text is the table of envconfig.
func TestHelp_isEnvconfigsUsage(t *testing.T) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = w.Write([]byte("VARIABLE\tTYPE\tDEFAULT\tMEANING\n" + usage(t, helpRow)))
	_ = w.Flush()
	if updateDocs {
		if err := os.WriteFile(helpFile, table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if Help != table.String() {
		t.Errorf("%s is outdated; UPDATE_DOCS=1 go test ./internal/config updates it. Want:\n%s", helpFile, &table)
	}
}

// TestDocs_containTheVariables: the table in docs/configuration.md is generated too.
func TestDocs_containTheVariables(t *testing.T) {
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	text, want := string(data), "| variable | type | default | meaning |\n| --- | --- | --- | --- |\n"+usage(t, docsRow)
	if updateDocs {
		start := strings.Index(text, "| variable | type |")
		end := start + strings.Index(text[start:], "\n\n") + 1
		if err := os.WriteFile(docsFile, []byte(text[:start]+want+text[end:]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !strings.Contains(text, want) {
		t.Errorf("%s is outdated; UPDATE_DOCS=1 go test ./internal/config updates it. Want:\n%s", docsFile, want)
	}
}

// TestHelp_isTheContract: the variables, their order and their defaults are those of the
// contract, and each description fits into the tables.
func TestHelp_isTheContract(t *testing.T) {
	var got [][2]string
	const row = "{{range .}}{{usage_key .}}\t{{usage_default .}}{{if usage_required .}}required{{end}}\t" +
		"{{usage_type .}}\t{{usage_description .}}\n{{end}}"
	for line := range strings.Lines(usage(t, row)) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) != 4 || columns[2] == "" || columns[3] == "" || strings.Contains(line, "|") {
			t.Errorf("%q: want a type and a meaning that fit into a table", line)
			continue
		}
		got = append(got, [2]string{columns[0], columns[1]})
	}
	if !reflect.DeepEqual(got, contractTable) {
		t.Errorf("got  %v\nwant %v", got, contractTable)
	}
	if names := variableNames(); len(names) != len(contractTable) || names[0] != "POD_NAMESPACE" {
		t.Errorf("variableNames() = %q", names)
	}
}
