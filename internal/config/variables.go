package config

import (
	"fmt"
	"io"
	"reflect"
	"text/tabwriter"
)

// The types of the variables, as help names them. All are strings, since
// envconfig stops at the first value that it cannot convert and a user wants to
// see every mistake at once: Load converts.
type (
	name     string
	names    string
	text     string
	selector string
	items    string
	keys     string
	path     string
	choice   string
	octal    string
	boolean  string
	duration string
	signal   string
	url      string
	method   string
	jsonList string
	address  string
)

// spec is the table of the variables: its order is that of help, of the README
// and of the mistakes.
type spec struct {
	PodNamespace      name `envconfig:"POD_NAMESPACE" desc:"the namespace, from the downward API"`
	PodName           name `envconfig:"POD_NAME" desc:"the Pod's name, for Events on it"`
	PodUID            text `envconfig:"POD_UID" desc:"the Pod's UID, for Events on it"`
	PodServiceAccount name `envconfig:"POD_SERVICE_ACCOUNT" desc:"the service account, for rbac"`

	Secrets         names    `envconfig:"SECRETSYNC_SECRETS" desc:"Secrets, comma-separated, each watched by name"`
	OptionalSecrets names    `envconfig:"SECRETSYNC_OPTIONAL_SECRETS" desc:"further Secrets that may be absent"`
	Selector        selector `envconfig:"SECRETSYNC_SELECTOR" desc:"a label selector: every Secret that matches, as they come and go; one of these three is needed"`
	Items           items    `envconfig:"SECRETSYNC_ITEMS" desc:"secret/key=path,... only these keys, at these relative paths; a Secret not named here gives all its keys"`
	RequiredKeys    keys     `envconfig:"SECRETSYNC_REQUIRED_KEYS" desc:"secret/key,... that must be there and not empty before anything of that Secret is published"`

	Dir      path     `envconfig:"SECRETSYNC_DIR" default:"/secrets" desc:"the volume's mount"`
	Layout   choice   `envconfig:"SECRETSYNC_LAYOUT" default:"nested" desc:"nested: DIR/SECRET/KEY; flat: DIR/KEY"`
	FileMode octal    `envconfig:"SECRETSYNC_FILE_MODE" default:"0644" desc:"mode of the files; the owner may always read"`
	OnDelete choice   `envconfig:"SECRETSYNC_ON_DELETE" default:"keep" desc:"files of a Secret that is gone: keep the last good ones, or remove them unless it is back within 5 s"`
	Settle   duration `envconfig:"SECRETSYNC_SETTLE" default:"0s" desc:"wait for this long without a change before publishing, at most ten times this long"`

	Process       text     `envconfig:"SECRETSYNC_PROCESS" desc:"signal the process of this name; needs shareProcessNamespace"`
	PIDFile       path     `envconfig:"SECRETSYNC_PID_FILE" desc:"or (not both) the process whose number is in this file"`
	Signal        signal   `envconfig:"SECRETSYNC_SIGNAL" default:"HUP" desc:"the signal, by name or number"`
	SignalCheck   boolean  `envconfig:"SECRETSYNC_SIGNAL_CHECK" default:"true" desc:"look for a handler first; false for sigwait and signalfd"`
	ProcessMinAge duration `envconfig:"SECRETSYNC_PROCESS_MIN_AGE" default:"5s" desc:"a younger process is not signalled yet"`

	WebhookURL       url      `envconfig:"SECRETSYNC_WEBHOOK_URL" desc:"call here: http://, https:// or unix:///path/to.sock:/url/path"`
	WebhookMethod    method   `envconfig:"SECRETSYNC_WEBHOOK_METHOD" default:"POST" desc:"the webhook's HTTP method"`
	WebhookTimeout   duration `envconfig:"SECRETSYNC_WEBHOOK_TIMEOUT" default:"5s" desc:"a call may take this long"`
	WebhookCAFile    path     `envconfig:"SECRETSYNC_WEBHOOK_CA_FILE" desc:"trust the CA in this file, re-read"`
	WebhookTokenFile path     `envconfig:"SECRETSYNC_WEBHOOK_TOKEN_FILE" desc:"send the bearer token in this file, re-read"`
	Exec             jsonList `envconfig:"SECRETSYNC_EXEC" desc:"run this command, a JSON array, in this container"`
	ExecTimeout      duration `envconfig:"SECRETSYNC_EXEC_TIMEOUT" default:"30s" desc:"its process group is killed after this time"`

	Splay       duration `envconfig:"SECRETSYNC_SPLAY" default:"0s" desc:"wait a random time up to this before a notification"`
	NotifyFirst boolean  `envconfig:"SECRETSYNC_NOTIFY_FIRST" default:"false" desc:"also notify for the first generation ever in this volume"`
	OneShot     boolean  `envconfig:"SECRETSYNC_ONE_SHOT" default:"false" desc:"an init container: exit 0 once a confirmed generation is in the volume"`
	SyncTimeout duration `envconfig:"SECRETSYNC_SYNC_TIMEOUT" default:"0s" desc:"exit 1 if there is no first complete generation by then; 0s: never"`
	Events      boolean  `envconfig:"SECRETSYNC_EVENTS" default:"false" desc:"write Events on the Pod (published, refused, notify failing)"`

	HTTPAddr  address `envconfig:"SECRETSYNC_HTTP_ADDR" default:":29808" desc:"/livez, /readyz and /metrics; empty: no server"`
	PprofAddr address `envconfig:"SECRETSYNC_PPROF_ADDR" desc:"pprof, loopback addresses only"`
	LogLevel  choice  `envconfig:"SECRETSYNC_LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
	LogFormat choice  `envconfig:"SECRETSYNC_LOG_FORMAT" default:"json" desc:"json or text"`
}

// Variable is one row of the table of variables.
type Variable struct {
	Name    string
	Type    string
	Default string // "required" for a variable that has no default and must be set
	Meaning string
}

// required has the variables that must be set. envconfig's own tag for it would
// end its work at the first one.
var required = map[string]bool{podNamespace: true}

// Variables gives every variable, in the order of the table. It reads the tags
// as envconfig.Usagef does (a test compares them): that one's text/template
// keeps the linker from dropping methods and makes the program 3 MB larger.
func Variables() []Variable {
	var variables []Variable
	fields := reflect.TypeFor[spec]()
	for i := range fields.NumField() {
		f := fields.Field(i)
		v := Variable{f.Tag.Get("envconfig"), f.Type.Name(), f.Tag.Get("default"), f.Tag.Get("desc")}
		if required[v.Name] {
			v.Default = "required"
		}
		variables = append(variables, v)
	}
	return variables
}

// Help writes the table of the variables: name, type, default, meaning.
func Help(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tTYPE\tDEFAULT\tMEANING")
	for _, v := range Variables() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Name, v.Type, v.Default, v.Meaning)
	}
	return table.Flush()
}
