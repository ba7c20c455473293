package config

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// checkValues reports each variable with an invalid value, except the variables of convert.
func (p *problems) checkValues() {
	const pod, span = ", as the downward API provides it", "a time with its unit, such as 1500ms or 2m, "
	p.check("a namespace"+pod, isLabel, "POD_NAMESPACE")
	p.check("a Kubernetes name"+pod, isSubdomain, "POD_NAME", "POD_UID", "POD_SERVICE_ACCOUNT")
	p.check("an absolute path without . or .. or //, other than /", isDirectory, "SECRETSYNC_DIR")
	p.check("true or false", isBool, "SECRETSYNC_SIGNAL_CHECK", "SECRETSYNC_SIGNAL_EXIT_CHECK",
		"SECRETSYNC_NOTIFY_FIRST", "SECRETSYNC_ONE_SHOT", "SECRETSYNC_EVENTS")
	p.check(span+"from 0s to 8760h", isDuration(0), "SECRETSYNC_SETTLE", "SECRETSYNC_SIGNAL_INTERVAL",
		"SECRETSYNC_PROCESS_MIN_AGE", "SECRETSYNC_SPLAY", "SECRETSYNC_SYNC_TIMEOUT")
	p.check(span+"above 0s, at most 8760h", isDuration(1), "SECRETSYNC_WEBHOOK_TIMEOUT", "SECRETSYNC_EXEC_TIMEOUT")
	p.check("an HTTP method, such as POST", isMethod, "SECRETSYNC_WEBHOOK_METHOD")
	p.check("the absolute path of a file", isFile, "SECRETSYNC_WEBHOOK_CA_FILE", "SECRETSYNC_WEBHOOK_TOKEN_FILE")
	p.check("host:port or :port, such as :29808, or empty for no server", isAddress, httpAddr)
	for name, choices := range map[string][]string{
		"SECRETSYNC_LAYOUT": {"nested", "flat"}, "SECRETSYNC_ON_DELETE": {"keep", "remove"},
		"SECRETSYNC_LOG_LEVEL": {"debug", "info", "warn", "error"}, "SECRETSYNC_LOG_OUTPUT": {"stderr", "stdout"},
		"SECRETSYNC_LOG_FORMAT": {"json", "text"},
	} {
		last := len(choices) - 1
		valid := func(s string) bool { return slices.Contains(choices, s) }
		p.check(strings.Join(choices[:last], ", ")+" or "+choices[last], valid, name)
	}
}

func isLabel(s string) bool { return len(validation.IsDNS1123Label(s)) == 0 }

func isSubdomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }

func isBool(s string) bool {
	_, err := strconv.ParseBool(s)
	return err == nil
}

// isDuration limits durations to a year, so their sums and multiples are far from an overflow.
func isDuration(least time.Duration) func(string) bool {
	return func(s string) bool {
		d, err := time.ParseDuration(s)
		return err == nil && d >= least && d <= 365*24*time.Hour
	}
}

// isDirectory accepts slashes at the end.
func isDirectory(s string) bool {
	dir := strings.TrimRight(s, "/")
	return filepath.IsAbs(dir) && filepath.Clean(dir) == dir
}

func isFile(s string) bool { return filepath.IsAbs(s) && !strings.HasSuffix(s, "/") }

func isProcessName(s string) bool { return s != "" && !strings.Contains(s, "/") }

func isMethod(s string) bool {
	_, err := http.NewRequest(s, "/", nil)
	return err == nil
}

func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	_, portErr := strconv.ParseUint(port, 10, 16)
	_, ipErr := netip.ParseAddr(host)
	return err == nil && portErr == nil && (host == "" || ipErr == nil || isSubdomain(strings.ToLower(host)))
}

// checkPod reports missing names of the Pod.
func (c *Config) checkPod(p *problems) {
	for _, v := range []struct{ name, value, field, reason string }{
		{"POD_NAMESPACE", c.Pod.Namespace, "namespace", ""},
		{"POD_NAME", c.Pod.Name, "name", "SECRETSYNC_EVENTS is true; "},
		{"POD_UID", c.Pod.UID, "uid", "SECRETSYNC_EVENTS is true; "},
	} {
		if v.value == "" && (v.reason == "" || c.Events) {
			p.add(v.name, "Required value: %sadd to the env of the container: "+
				"- {name: %s, valueFrom: {fieldRef: {fieldPath: metadata.%s}}}", v.reason, v.name, v.field)
		}
	}
}

// checkSecrets reports an environment without any Secret, a Secret listed twice, and items
// and required keys of unlisted Secrets. The latter are typos, unless the selector may match
// these Secrets.
func (c *Config) checkSecrets(p *problems) {
	const required, optional = "SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS"
	if c.syncVariables.Secrets == "" && c.syncVariables.OptionalSecrets == "" && c.Selector == "" {
		p.add(required, "Required value: at least one of SECRETSYNC_SECRETS, SECRETSYNC_OPTIONAL_SECRETS and "+
			"SECRETSYNC_SELECTOR must be set")
	}
	for _, secret := range c.OptionalSecrets {
		if slices.Contains(c.Secrets, secret) {
			p.invalid(optional, secret, errors.New("also in "+required+"; remove it there or here"))
		}
	}
	if c.Selector != "" || p.in(required) || p.in(optional) {
		return
	}
	unlisted := func(name, secret string) {
		if !slices.Contains(c.SecretNames(), secret) {
			p.invalid(name, secret, errors.New("this Secret is neither in "+required+" nor in "+optional))
		}
	}
	for _, secret := range slices.Sorted(maps.Keys(c.Items)) {
		if c.Items[secret][0].Env {
			unlisted("SECRETSYNC_ENV_FILES", secret)
		} else {
			unlisted("SECRETSYNC_ITEMS", secret)
		}
	}
	for _, secret := range slices.Sorted(maps.Keys(c.RequiredKeys)) {
		unlisted("SECRETSYNC_REQUIRED_KEYS", secret)
	}
}

// checkTargets reports files that the webhooks cannot use, and targets of an init container.
func (c *Config) checkTargets(p *problems) {
	const ca, token, urls = "SECRETSYNC_WEBHOOK_CA_FILE", "SECRETSYNC_WEBHOOK_TOKEN_FILE", "SECRETSYNC_WEBHOOK_URL"
	plain := slices.ContainsFunc(c.Webhooks, func(u *webhook.URL) bool { return !u.IsTLS() })
	user := slices.ContainsFunc(c.Webhooks, (*webhook.URL).HasUser)
	for _, name := range []string{ca, token} {
		file := os.Getenv(name)
		switch {
		case file == "" || p.in(name) || p.in(urls):
		case len(c.Webhooks) == 0:
			p.invalid(name, file, errors.New(urls+" is not set"))
		case name == ca && plain:
			p.invalid(name, file, errors.New(urls+" contains a URL that does not start with https://"))
		case name == token && user:
			p.invalid(name, file, errors.New(urls+" contains a URL with a user, which replaces the token"))
		}
	}
	var targets []string
	for _, name := range []string{"SECRETSYNC_PROCESS", "SECRETSYNC_PID_FILE", urls, "SECRETSYNC_EXEC"} {
		if c.OneShot && os.Getenv(name) != "" {
			targets = append(targets, name)
		}
	}
	if targets != nil {
		p.invalid("SECRETSYNC_ONE_SHOT", os.Getenv("SECRETSYNC_ONE_SHOT"), errors.New(
			"an init container ends before the app starts and cannot notify it; unset "+strings.Join(targets, " and ")))
	}
}
