package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/internal/typo"
	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// A Problem is a mistake in a variable or in an argument. Its text is a single line.
type Problem struct{ Variable, Detail string }

func (p *Problem) Error() string { return p.Variable + ": " + p.Detail }

// problems contains the mistakes in each variable.
type problems map[string][]error

// hidden matches the variables whose values may be or contain secrets.
var hidden = regexp.MustCompile(`^SECRETSYNC_(WEBHOOK_(URL|CA_FILE|TOKEN_FILE)|EXEC)$`)

// scheme is the only part of a URL for an error: the others may each contain a password.
var scheme = regexp.MustCompile(`^(https?|unix)://`)

// invalid records an invalid value of a variable, or of an entry of its list.
func (p problems) invalid(name, value string, err error) {
	if hidden.MatchString(name) {
		value = scheme.FindString(value) + "... (not shown)"
	} else if beginning := fmt.Sprintf("%.120s", value); beginning != value {
		value = beginning + "..."
	}
	p.add(name, "Invalid value: %q: %v", value, err)
}

func (p problems) add(name, format string, args ...any) {
	p[name] = append(p[name], &Problem{name, fmt.Sprintf(format, args...)})
}

// check records each of the variables that is set to an invalid value.
func (p problems) check(allowed string, valid func(string) bool, names ...string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" && !valid(value) {
			p.invalid(name, value, errors.New("must be "+allowed))
		}
	}
}

// join returns the problems in the order of the variables, then the unknown variables.
func (p problems) join() error {
	var all []error
	known := variableNames()
	order := func(a, b string) int { return cmp.Compare(slices.Index(known, a), slices.Index(known, b)) }
	for _, name := range slices.SortedFunc(maps.Keys(p), order) {
		all = append(all, p[name]...)
	}
	return errors.Join(append(all, unknown(known)...)...)
}

// unknown returns a problem for each unknown variable with our prefix, in any case and also as SECRET_SYNC_, and for
// each variable that is almost a known variable, such as SERCETSYNC_DIR or POD_NAMESPCE. Other variables, such as
// POD_IP, belong to other programs. The problem does not contain the value, which may be a token.
func unknown(known []string) (all []error) {
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		upper := strings.ToUpper(name)
		prefix, suffix, sync := strings.Cut(upper, "SYNC_")
		ours := sync && slices.Contains([]string{"SECRET", "SECRETS", "SECRET_", "SECRETS_"}, prefix)
		near, hint := "", "secret-sync help lists the variables"
		switch {
		case slices.Contains(known, name) || name == "SECRETSYNC_GENERATION" || ours && isOfService(name):
			continue
		case ours:
			near = nearest(suffix, known)
		case sync || strings.HasPrefix(upper, "SECRET") || strings.HasPrefix(upper, "POD_"):
			near = typo.Nearest(upper, known, min(2, len(name)/8))
		}
		if near != "" {
			hint = "did you mean " + near + "?"
		} else if !ours {
			continue
		}
		all = append(all, &Problem{strings.Trim(strconv.Quote(name), `"`), "unknown variable; " + hint})
	}
	return all
}

// isOfService reports whether the kubelet set the variable for a Service: it sets the IP address of each Service too.
func isOfService(name string) bool {
	return slices.ContainsFunc(os.Environ(), func(assignment string) bool {
		start, ip, found := strings.Cut(assignment, "SERVICE_HOST=")
		return found && isIP(ip) && (strings.HasPrefix(name, start+"SERVICE_") || strings.HasPrefix(name, start+"PORT"))
	})
}

// nearest returns the variable most similar to suffix after its prefix, or "" if more than a third of the letters
// differ. A missing word (WEBHOOK for WEBHOOK_URL) is a better match. SECRETSYNC_NAMESPACE is POD_NAMESPACE.
func nearest(suffix string, known []string) string {
	for _, variable := range known {
		if strings.Contains(variable+"_", "_"+suffix+"_") {
			return variable
		}
	}
	limit := max(2, len(suffix)/3)
	return cmp.Or(typo.Nearest("SECRETSYNC_"+suffix, known, limit), typo.Nearest("POD_"+suffix, known, limit))
}

// checkValues reports each variable with an invalid value, except the variables of convert.
func (p problems) checkValues() {
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
		allowed := strings.Join(choices[:last], ", ") + " or " + choices[last]
		p.check(allowed, func(s string) bool { return slices.Contains(choices, s) }, name)
	}
}

func isLabel(s string) bool       { return len(validation.IsDNS1123Label(s)) == 0 }
func isSubdomain(s string) bool   { return len(validation.IsDNS1123Subdomain(s)) == 0 }
func isFile(s string) bool        { return path.IsAbs(s) && !strings.HasSuffix(s, "/") }
func isDirectory(s string) bool   { return s[0] == '/' && path.Clean(s) == strings.TrimRight(s, "/") }
func isProcessName(s string) bool { return s != "" && !strings.Contains(s, "/") }
func isBool(s string) bool        { _, err := strconv.ParseBool(s); return err == nil }
func isIP(s string) bool          { _, err := netip.ParseAddr(s); return err == nil }
func isMethod(s string) bool      { _, err := http.NewRequest(s, "/", nil); return err == nil }

func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	_, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && (host == "" || isIP(host) || isSubdomain(strings.ToLower(host)))
}

// isDuration limits durations to a year, so their sums and multiples are far from an overflow.
func isDuration(least time.Duration) func(string) bool {
	return func(s string) bool {
		d, err := time.ParseDuration(s)
		return err == nil && d >= least && d <= 365*24*time.Hour
	}
}

// checkPod reports missing names of the Pod.
func (c *Config) checkPod(p problems) {
	const add = "add to the env of the container: - {name: %s, valueFrom: {fieldRef: {fieldPath: metadata.%s}}}"
	if c.Pod.Namespace == "" {
		p.add("POD_NAMESPACE", "Required value: "+add, "POD_NAMESPACE", "namespace")
	}
	for _, name := range []string{"POD_NAME", "POD_UID"} { // envconfig reads neither without a namespace
		if field := strings.ToLower(name[len("POD_"):]); c.Events && os.Getenv(name) == "" {
			p.add(name, "Required value: SECRETSYNC_EVENTS is true; "+add, name, field)
		}
	}
}

// checkSecrets reports an environment without any Secret, and a Secret listed twice.
func (c *Config) checkSecrets(p problems) {
	const required, optional = "SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS"
	if c.syncVariables.Secrets == "" && c.syncVariables.OptionalSecrets == "" && c.Selector == "" {
		p.add(required, "Required value: set at least one of "+required+", "+optional+" and SECRETSYNC_SELECTOR")
	}
	for _, secret := range c.OptionalSecrets {
		if slices.Contains(c.Secrets, secret) {
			p.invalid(optional, secret, errors.New("also in "+required+"; remove it there or here"))
		}
	}
}

// checkTargets reports files that the webhooks cannot use, and targets of an init container.
func (c *Config) checkTargets(p problems) {
	const ca, token, urls = "SECRETSYNC_WEBHOOK_CA_FILE", "SECRETSYNC_WEBHOOK_TOKEN_FILE", "SECRETSYNC_WEBHOOK_URL"
	unusable := func(name, file, problem string, unusable func(*webhook.URL) bool) {
		switch {
		case file == "" || p[name] != nil || p[urls] != nil:
		case len(c.Webhooks) == 0:
			p.invalid(name, file, errors.New(urls+" is not set"))
		case slices.ContainsFunc(c.Webhooks, unusable):
			p.invalid(name, file, errors.New(urls+" contains "+problem))
		}
	}
	plain := func(u *webhook.URL) bool { return !u.IsTLS() }
	unusable(ca, c.WebhookCAFile, "a URL that does not start with https://", plain)
	unusable(token, c.WebhookTokenFile, "a URL with a user, which replaces the token", (*webhook.URL).HasUser)
	var targets []string
	for _, name := range []string{"SECRETSYNC_PROCESS", "SECRETSYNC_PID_FILE", urls, "SECRETSYNC_EXEC"} {
		if os.Getenv(name) != "" {
			targets = append(targets, name)
		}
	}
	if c.OneShot && targets != nil {
		p.invalid("SECRETSYNC_ONE_SHOT", "true", errors.New(
			"an init container ends before the app starts and cannot notify it; unset "+strings.Join(targets, " and ")))
	}
}
