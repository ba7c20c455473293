package config

import (
	_ "embed"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// Help is the table of the variables with their types, defaults and meanings. A test
// generates it with envconfig.Usagef. The program does not call Usagef, because Usagef uses
// the package text/template, and the binary would be 2.0 MB larger.
//
//go:embed variables.txt
var Help string

// Variables with the prefix POD_.
type podVariables struct {
	Namespace      string `required:"true" desc:"namespace, from the downward API"`
	Name           string `desc:"name of the Pod, for Events"`
	UID            string `desc:"UID of the Pod, for Events"`
	ServiceAccount string `split_words:"true" desc:"service account, for the command rbac"`
}

// List is the text of a variable with several entries.
type List string

// Variables with the prefix SECRETSYNC_.
type syncVariables struct {
	Secrets         List   `desc:"required Secrets, comma-separated, each watched by name"`
	OptionalSecrets List   `split_words:"true" desc:"Secrets that may be absent"`
	Selector        string `desc:"label selector; follows every matching Secret"`
	Items           List   `desc:"secret/key=path or secret/key+key=path:0600,...: write only these files of a Secret"`
	EnvFiles        List   `split_words:"true" desc:"secret=path or secret/key+key=path,...: write these dotenv files"`
	RequiredKeys    List   `split_words:"true" desc:"secret/key,...: publish a Secret only if these are not empty"`

	Dir      string            `default:"/secrets" desc:"mount path of the volume"`
	Layout   generation.Layout `default:"nested" desc:"nested: DIR/SECRET/KEY; flat: DIR/KEY"`
	FileMode string            `split_words:"true" default:"0644" desc:"mode of the files; the owner can always read"`
	OnDelete string            `split_words:"true" default:"keep" desc:"keep or remove the files of a deleted Secret"`
	Settle   time.Duration     `default:"0s" desc:"publish after this time without a change, or after ten times this time"`

	Process         List          `desc:"signal the process with this name: nginx or nginx,app:USR1"`
	PIDFile         List          `split_words:"true" desc:"signal the process with the number in this file"`
	Signal          string        `default:"HUP" desc:"signal to send, a name or a number"`
	SignalCheck     bool          `split_words:"true" default:"true" desc:"check for a handler; false for sigwait, signalfd"`
	SignalExitCheck bool          `split_words:"true" default:"true" desc:"stop signaling an app that ended after two signals"`
	SignalInterval  time.Duration `split_words:"true" default:"500ms" desc:"minimum time between signals, and before a publish"`
	ProcessMinAge   time.Duration `split_words:"true" default:"5s" desc:"wait until the process has this age"`

	WebhookURL       List          `split_words:"true" desc:"call this URL: http://, https:// or unix:///a.sock:/path"`
	WebhookMethod    string        `split_words:"true" default:"POST" desc:"HTTP method of the call"`
	WebhookTimeout   time.Duration `split_words:"true" default:"5s" desc:"time limit of a call"`
	WebhookCAFile    string        `split_words:"true" desc:"file with the CA to trust, re-read for each call"`
	WebhookTokenFile string        `split_words:"true" desc:"file with the bearer token to send, re-read for each call"`
	Exec             string        `desc:"run this command, a JSON array, in the container of secret-sync"`
	ExecTimeout      time.Duration `split_words:"true" default:"30s" desc:"kill the process group of the command then"`

	Splay       time.Duration `default:"0s" desc:"wait a random time up to this before a notification"`
	NotifyFirst bool          `split_words:"true" default:"false" desc:"also notify of the first generation in the volume"`
	OneShot     bool          `split_words:"true" default:"false" desc:"for an init container: exit after the first publish"`
	SyncTimeout time.Duration `split_words:"true" default:"0s" desc:"exit 1 without a complete generation by then; 0s: never"`
	Events      bool          `default:"false" desc:"create Events for the Pod"`

	HTTPAddr  string     `split_words:"true" default:":29808" desc:"address of the HTTP server; empty: no server"`
	LogLevel  slog.Level `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogOutput string     `split_words:"true" default:"stderr" desc:"stderr or stdout"`
	LogFormat string     `split_words:"true" default:"json" desc:"json or text"`
}

// httpAddr is the only variable whose empty value does not select the default.
const httpAddr = "SECRETSYNC_HTTP_ADDR"

// normalize trims the variables, and removes empty variables, because envconfig applies a
// default only to an unset variable.
func normalize() {
	for _, name := range variableNames() {
		value, set := os.LookupEnv(name)
		if value = strings.TrimSpace(value); value != "" || set && name == httpAddr {
			_ = os.Setenv(name, value)
		} else {
			_ = os.Unsetenv(name)
		}
	}
}

// read lets envconfig set the fields of variables. envconfig stops at a variable that it cannot
// parse. checkValues reports this variable, and read hides it and starts again, so the field
// gets its default. The error of envconfig contains the value and is never printed.
func read(prefix string, variables any) {
	var invalid *envconfig.ParseError
	for errors.As(envconfig.Process(prefix, variables), &invalid) {
		_ = os.Unsetenv(invalid.KeyName)
		defer os.Setenv(invalid.KeyName, invalid.Value)
	}
}

// variableNames returns the names of all variables, the first column of Help.
func variableNames() []string {
	var names []string
	for line := range strings.Lines(Help) {
		if name := strings.Fields(line)[0]; name != "VARIABLE" {
			names = append(names, name)
		}
	}
	return names
}
