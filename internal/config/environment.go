package config

import (
	_ "embed"
	"os"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// Help is the table of the variables with their types, defaults and meanings. A test
// generates it with envconfig.Usagef. The program does not call Usagef, because Usagef uses
// the package text/template, and the binary would be 2.0 MB larger.
//
//go:embed variables.txt
var Help string

// environment contains the variables as envconfig reads them. convert checks them. The
// types appear in Help.
type environment struct {
	podVariables
	syncVariables
}

// Variables with the prefix POD_.
type podVariables struct {
	Namespace      text `required:"true" desc:"namespace, from the downward API"`
	Name           text `desc:"name of the Pod, for Events"`
	UID            text `desc:"UID of the Pod, for Events"`
	ServiceAccount text `split_words:"true" desc:"service account, for the command rbac"`
}

// Variables with the prefix SECRETSYNC_.
type syncVariables struct {
	Secrets         list `desc:"required Secrets, comma-separated, each watched by name"`
	OptionalSecrets list `split_words:"true" desc:"Secrets that may be absent"`
	Selector        text `desc:"label selector; follows every matching Secret"`
	Items           list `desc:"secret/key=path or secret/key=path:0600,...: write only these keys of a Secret"`
	RequiredKeys    list `split_words:"true" desc:"secret/key,...: publish a Secret only if these are not empty"`

	Dir      path     `default:"/secrets" desc:"mount path of the volume"`
	Layout   choice   `default:"nested" desc:"nested: DIR/SECRET/KEY; flat: DIR/KEY"`
	FileMode text     `split_words:"true" default:"0644" desc:"mode of the files; the owner can always read"`
	OnDelete choice   `split_words:"true" default:"keep" desc:"keep or remove the files of a deleted Secret"`
	Settle   duration `default:"0s" desc:"publish after this time without a change, or after ten times this time"`

	Process         list     `desc:"signal the process with this name: nginx or nginx,app:USR1"`
	PIDFile         list     `split_words:"true" desc:"signal the process with the number in this file"`
	Signal          text     `default:"HUP" desc:"signal to send, a name or a number"`
	SignalCheck     boolean  `split_words:"true" default:"true" desc:"check for a handler; false for sigwait, signalfd"`
	SignalExitCheck boolean  `split_words:"true" default:"true" desc:"stop signaling an app that ended after two signals"`
	SignalInterval  duration `split_words:"true" default:"500ms" desc:"minimum time between signals, and before a publish"`
	ProcessMinAge   duration `split_words:"true" default:"5s" desc:"wait until the process has this age"`

	WebhookURL       list     `split_words:"true" desc:"call this URL: http://, https:// or unix:///a.sock:/path"`
	WebhookMethod    text     `split_words:"true" default:"POST" desc:"HTTP method of the call"`
	WebhookTimeout   duration `split_words:"true" default:"5s" desc:"time limit of a call"`
	WebhookCAFile    path     `split_words:"true" desc:"file with the CA to trust, re-read for each call"`
	WebhookTokenFile path     `split_words:"true" desc:"file with the bearer token to send, re-read for each call"`
	Exec             text     `desc:"run this command, a JSON array, in the container of secret-sync"`
	ExecTimeout      duration `split_words:"true" default:"30s" desc:"kill the process group of the command then"`

	Splay       duration `default:"0s" desc:"wait a random time up to this before a notification"`
	NotifyFirst boolean  `split_words:"true" default:"false" desc:"also notify of the first generation in the volume"`
	OneShot     boolean  `split_words:"true" default:"false" desc:"for an init container: exit after the first publish"`
	SyncTimeout duration `split_words:"true" default:"0s" desc:"exit 1 without a complete generation by then; 0s: never"`
	Events      boolean  `default:"false" desc:"create Events for the Pod"`

	HTTPAddr  text   `split_words:"true" default:":29808" desc:"address of the HTTP server; empty: no server"`
	LogLevel  choice `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogOutput choice `split_words:"true" default:"stderr" desc:"stderr or stdout"`
	LogFormat choice `split_words:"true" default:"json" desc:"json or text"`
}

// The types of the variables, as Help names them.
type (
	text     string
	list     string
	path     string
	choice   string
	boolean  string
	duration string
)

// httpAddr is the only variable whose empty value does not select the default.
const httpAddr = "SECRETSYNC_HTTP_ADDR"

// read reads the variables of the process. It first removes empty variables, because
// envconfig applies a default only to an unset variable. All variables are text, so the only
// error of envconfig is a missing required variable, which convert reports.
func read() *environment {
	for _, name := range variableNames() {
		if name != httpAddr && strings.TrimSpace(os.Getenv(name)) == "" {
			_ = os.Unsetenv(name)
		}
	}
	e := &environment{}
	_ = envconfig.Process("pod", &e.podVariables)
	_ = envconfig.Process("secretsync", &e.syncVariables)
	return e
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
