package check

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// signals returns the first variable that makes the sidecar send signals.
func signals(s manifest.Sidecar) (name string, v manifest.Variable) {
	for _, name = range []string{"SECRETSYNC_PROCESS", "SECRETSYNC_PID_FILE"} {
		if v = s.Variable(name); v.Value != "" {
			return name, v
		}
	}
	return "", manifest.Variable{}
}

// checkProcessNamespace: the sidecar sees the processes of other containers only in a shared
// process namespace.
func checkProcessNamespace(c *checker, s manifest.Sidecar) {
	name, v := signals(s)
	if name == "" || c.Spec.ShareProcessNamespace != nil && *c.Spec.ShareProcessNamespace || c.Spec.HostPID {
		return
	}
	at := v.Path
	if c.Spec.ShareProcessNamespace != nil {
		at = c.SpecPath("shareProcessNamespace")
	}
	c.add(Error, "process-namespace", at, fmt.Sprintf("container %s cannot see the process of %s", s.Name, name),
		"set `shareProcessNamespace: true` in the Pod's spec, or use SECRETSYNC_WEBHOOK_URL")
}

// checkUID: without privileges, a process can signal only processes of its own UID. It is enough
// that a single reader of the volume has this UID: the spec does not say which reader is signaled.
func checkUID(c *checker, s manifest.Sidecar) {
	if name, _ := signals(s); name == "" || canKill(c.Workload, s.Container) {
		return
	}
	user, unknown, others := c.User(s.Container), false, s.Readers(s.VolumeName())
	if len(others) == 0 {
		others = s.Others()
	}
	for _, app := range others {
		uid := c.User(app)
		if uid == nil || user == nil {
			unknown = true
		} else if *uid == *user {
			return
		}
	}
	const remedy = "set the same `runAsUser` for both containers, or use SECRETSYNC_WEBHOOK_URL"
	switch {
	case unknown:
		c.add(Warning, "signal-uid", s.Path,
			fmt.Sprintf("the spec does not show that container %s and the app have the same UID", s.Name), remedy)
	case len(others) > 0:
		c.add(Error, "signal-uid", c.UserPath(others[0]),
			fmt.Sprintf("container %s runs as UID %d and cannot signal container %s, which runs as UID %d",
				s.Name, *user, others[0].Name, *c.User(others[0])), remedy)
	}
}

// canKill reports whether the container runs as root with the capability KILL.
func canKill(w *manifest.Workload, c manifest.Container) bool {
	if user := w.User(c); user == nil || *user != 0 {
		return false
	}
	if c.SecurityContext == nil || c.SecurityContext.Capabilities == nil {
		return true
	}
	capabilities := c.SecurityContext.Capabilities
	drops := slices.Contains(capabilities.Drop, "ALL") || slices.Contains(capabilities.Drop, "KILL")
	return !drops || slices.Contains(capabilities.Add, "KILL")
}

// commLength is the length to which the kernel truncates the name of a process.
const commLength = 15

// likeSignal matches a signal after the last colon of an entry. Other text is part of the name.
var likeSignal = regexp.MustCompile(`(?i)^(sig.*|[0-9]+|rtm(in|ax).*|hup|int|quit|usr[12]|` +
	`term|kill|alrm|cont|stop|winch)$`)

// checkProcessName: the kernel truncates a name. A longer name must be in the arguments.
func checkProcessName(c *checker, s manifest.Sidecar) {
	v := s.Variable("SECRETSYNC_PROCESS")
	for _, entry := range v.List() {
		name := entry
		if i := strings.LastIndex(entry, ":"); i >= 0 && likeSignal.MatchString(entry[i+1:]) {
			name = entry[:i]
		}
		if len(name) > commLength {
			c.add(Warning, "process-name", v.Path,
				fmt.Sprintf("the kernel truncates the process name %q to %d characters", name, commLength),
				fmt.Sprintf("use %q, or verify that argv[0] or the script has the longer name", name[:commLength]))
		}
	}
}

// checkWebhook: a container of the Pod declares the port of the webhook. The finding does not
// contain the URL, which can contain a password.
func checkWebhook(c *checker, s manifest.Sidecar) {
	v := s.Variable("SECRETSYNC_WEBHOOK_URL")
	for _, entry := range v.List() {
		port, ok := localPort(entry)
		declared := func(app manifest.Container) bool { return declares(app, port) }
		if !ok || slices.ContainsFunc(c.Containers(), declared) {
			continue
		}
		c.add(Warning, "webhook-port", v.Path, fmt.Sprintf("no container declares port %d of the webhook", port),
			fmt.Sprintf("correct the port, or add `ports: [{containerPort: %d}]` to the container of the app", port))
	}
}

// localPort returns the port of a URL of this Pod.
func localPort(entry string) (port int32, ok bool) {
	u, err := url.Parse(entry)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return 0, false
	}
	ip := net.ParseIP(u.Hostname())
	if u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0, false
	}
	text := u.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	number, err := strconv.ParseUint(text, 10, 16)
	return int32(number), err == nil
}

func declares(c manifest.Container, port int32) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == port })
}
