// Package config reads the environment, the only configuration that
// secret-sync has. Config is at once the table of the variables, their parser
// and the result. Load reports all problems at once and never repeats a value
// that may be secret.
//
// It must not know what the values are for: what a variable does is decided
// where the program reads its field.
package config

import (
	"errors"
	"reflect"

	"github.com/kelseyhightower/envconfig"
)

// Config is the table of the variables, one line each, in the order of help and
// of the problems. The type of a field parses and checks the value. The tags:
//
//	envconfig  the name
//	default    used when the variable is not set, or set to nothing
//	desc       the meaning, as help shows it
//	required   it must be set ("true" would make envconfig stop there)
//	downward   the field of the Pod that the downward API gives it from
//	secret     an error does not repeat the value: it may be a password
//	oneof      the values of a choice
//	label      the name has no dots
//	target     it makes something to notify
//	positive   the duration is not 0
//	loopback   the address cannot be reached from another machine
//	empty      set to nothing is a value of its own
type Config struct {
	Namespace      name `envconfig:"POD_NAMESPACE" required:"yes" label:"yes" downward:"metadata.namespace" desc:"the namespace, from the downward API"`
	PodName        name `envconfig:"POD_NAME" downward:"metadata.name" desc:"the Pod's name, for Events on it"`
	PodUID         name `envconfig:"POD_UID" downward:"metadata.uid" desc:"the Pod's UID, for Events on it"`
	ServiceAccount name `envconfig:"POD_SERVICE_ACCOUNT" desc:"the service account, for rbac"`

	Secrets         names    `envconfig:"SECRETSYNC_SECRETS" desc:"Secrets, comma-separated, each watched by name"`
	OptionalSecrets names    `envconfig:"SECRETSYNC_OPTIONAL_SECRETS" desc:"further Secrets that may be absent"`
	Selector        selector `envconfig:"SECRETSYNC_SELECTOR" desc:"a label selector: every Secret that matches, as they come and go; one of these three is needed"`
	Items           items    `envconfig:"SECRETSYNC_ITEMS" desc:"secret/key=path or secret/key=path:0600,... only these keys, at these relative paths, with modes of their own; a Secret not named here gives all its keys"`
	RequiredKeys    keys     `envconfig:"SECRETSYNC_REQUIRED_KEYS" desc:"secret/key,... that must be there and not empty before anything of that Secret is published"`

	Dir      directory `envconfig:"SECRETSYNC_DIR" default:"/secrets" desc:"the volume's mount"`
	Layout   choice    `envconfig:"SECRETSYNC_LAYOUT" default:"nested" oneof:"nested,flat" desc:"nested: DIR/SECRET/KEY; flat: DIR/KEY"`
	FileMode octal     `envconfig:"SECRETSYNC_FILE_MODE" default:"0644" desc:"mode of the files; the owner may always read"`
	OnDelete choice    `envconfig:"SECRETSYNC_ON_DELETE" default:"keep" oneof:"keep,remove" desc:"files of a Secret that is gone: keep the last good ones, or remove them unless it is back within 5 s"`
	Settle   duration  `envconfig:"SECRETSYNC_SETTLE" default:"0s" desc:"wait for this long without a change before publishing, at most ten times this long"`

	Process       processes `envconfig:"SECRETSYNC_PROCESS" target:"yes" desc:"signal the process of this name; needs shareProcessNamespace; several, each with a signal of its own if it differs: nginx,app:USR1"`
	PIDFile       pidFiles  `envconfig:"SECRETSYNC_PID_FILE" target:"yes" desc:"signal the process whose number is in this file; several as above"`
	Signal        signal    `envconfig:"SECRETSYNC_SIGNAL" default:"HUP" desc:"the signal, by name or number"`
	SignalCheck   boolean   `envconfig:"SECRETSYNC_SIGNAL_CHECK" default:"true" desc:"look for a handler first; false for sigwait and signalfd"`
	ProcessMinAge duration  `envconfig:"SECRETSYNC_PROCESS_MIN_AGE" default:"5s" desc:"a younger process is not signalled yet"`

	WebhookURL       urls     `envconfig:"SECRETSYNC_WEBHOOK_URL" target:"yes" secret:"yes" desc:"call here: http://, https:// or unix:///path/to.sock:/url/path; several, comma-separated (a comma in a URL is %2C)"`
	WebhookMethod    method   `envconfig:"SECRETSYNC_WEBHOOK_METHOD" default:"POST" desc:"the webhook's HTTP method"`
	WebhookTimeout   duration `envconfig:"SECRETSYNC_WEBHOOK_TIMEOUT" default:"5s" positive:"yes" desc:"a call may take this long"`
	WebhookCAFile    file     `envconfig:"SECRETSYNC_WEBHOOK_CA_FILE" secret:"yes" desc:"trust the CA in this file, re-read"`
	WebhookTokenFile file     `envconfig:"SECRETSYNC_WEBHOOK_TOKEN_FILE" secret:"yes" desc:"send the bearer token in this file, re-read"`
	Exec             jsonList `envconfig:"SECRETSYNC_EXEC" target:"yes" secret:"yes" desc:"run this command, a JSON array, in this container"`
	ExecTimeout      duration `envconfig:"SECRETSYNC_EXEC_TIMEOUT" default:"30s" positive:"yes" desc:"its process group is killed after this time"`

	Splay       duration `envconfig:"SECRETSYNC_SPLAY" default:"0s" desc:"wait a random time up to this before a notification"`
	NotifyFirst boolean  `envconfig:"SECRETSYNC_NOTIFY_FIRST" default:"false" desc:"also notify for the first generation ever in this volume"`
	OneShot     boolean  `envconfig:"SECRETSYNC_ONE_SHOT" default:"false" desc:"an init container: exit 0 once a confirmed generation is in the volume"`
	SyncTimeout duration `envconfig:"SECRETSYNC_SYNC_TIMEOUT" default:"0s" desc:"exit 1 if there is no first complete generation by then; 0s: never"`
	Events      boolean  `envconfig:"SECRETSYNC_EVENTS" default:"false" desc:"write Events on the Pod (published, refused, notify failing)"`

	HTTPAddr  address `envconfig:"SECRETSYNC_HTTP_ADDR" default:":29808" empty:"yes" desc:"/livez, /readyz, /metrics and /status; empty: no server"`
	PprofAddr address `envconfig:"SECRETSYNC_PPROF_ADDR" loopback:"yes" desc:"pprof, loopback addresses only"`
	LogLevel  choice  `envconfig:"SECRETSYNC_LOG_LEVEL" default:"info" oneof:"debug,info,warn,error" desc:"debug, info, warn or error"`
	LogFormat choice  `envconfig:"SECRETSYNC_LOG_FORMAT" default:"json" oneof:"json,text" desc:"json or text"`
}

// Load reads the process environment. Its error has a *field.Error, of one line, for
// each thing that is wrong, in the order of the table. The Config is there all the
// same, for a command that needs one variable or two: in a directory that does not
// exist, nothing is ready.
func Load() (*Config, error) {
	c := &Config{}
	variables := c.variables()
	if err := envconfig.Process("", c); err != nil {
		panic(err) // a defect of the table: Decode returns no error
	}
	c.check(variables)
	var problems []error
	for _, v := range variables {
		problems = append(problems, v.problems...)
	}
	if c.OneShot.Value {
		c.HTTPAddr.Value = "" // an init container ends before anyone asks
	}
	return c, errors.Join(append(problems, unknown(variables)...)...)
}

// variables returns the fields of c, each with its line of the table.
func (c *Config) variables() []*variable {
	fields := reflect.ValueOf(c).Elem()
	all := make([]*variable, fields.NumField())
	for i := range all {
		p := fields.Field(i).Addr().Interface().(parser)
		all[i] = p.common()
		all[i].parser, all[i].tag = p, fields.Type().Field(i).Tag
		all[i].name = all[i].tag.Get("envconfig")
	}
	return all
}
