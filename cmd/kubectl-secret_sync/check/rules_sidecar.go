package check

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// checkUnknown notes sources of variables that the spec does not contain.
func checkUnknown(c *checker, s manifest.Sidecar) {
	if len(s.EnvFrom) > 0 {
		c.unknown(s.Path.Add("envFrom"), "container %s reads variables from other objects, which check does not read",
			s.Name)
	}
	for _, v := range s.Env {
		if strings.HasPrefix(v.Name, "SECRETSYNC_") && !s.Variable(v.Name).Known {
			c.unknown(s.Variable(v.Name).Path, "the spec does not contain the value of %s", v.Name)
		}
	}
}

// checkNative: a native sidecar starts before the app and stops after it.
func checkNative(c *checker, s manifest.Sidecar) {
	switch {
	case s.Native() || s.OneShot:
	case s.Init:
		c.add(Error, "native-sidecar", s.Path,
			fmt.Sprintf("init container %s never ends, so the app never starts", s.Name),
			"add `restartPolicy: Always`, or set SECRETSYNC_ONE_SHOT to \"true\"")
	default:
		c.add(Warning, "native-sidecar", s.Path,
			fmt.Sprintf("container %s is not a native sidecar, so the app may start before its files exist", s.Name),
			"move the container to initContainers and add `restartPolicy: Always`")
	}
}

// checkStartupProbe: only the startup probe of a native sidecar delays the app.
func checkStartupProbe(c *checker, s manifest.Sidecar) {
	if !s.Native() {
		return
	}
	const remedy = "add `startupProbe: {exec: {command: [/secret-sync, ready]}, periodSeconds: 1, " +
		"failureThreshold: 300}`"
	switch {
	case s.StartupProbe == nil:
		c.add(Warning, "startup-probe", s.Path,
			fmt.Sprintf("container %s has no startup probe, so the app starts before its files exist", s.Name), remedy)
	case !waitsForFiles(s.StartupProbe):
		c.add(Warning, "startup-probe", s.Path.Add("startupProbe"),
			fmt.Sprintf("the startup probe of container %s succeeds before the files exist", s.Name), remedy)
	}
}

// waitsForFiles reports whether the probe succeeds only if the volume holds a generation.
func waitsForFiles(p *corev1.Probe) bool {
	return p.Exec != nil && slices.Contains(p.Exec.Command, "ready") || p.HTTPGet != nil && p.HTTPGet.Path == "/readyz"
}

// checkHTTPServer: wait and status query the HTTP server of the sidecar.
func checkHTTPServer(c *checker, s manifest.Sidecar) {
	address := s.Variable("SECRETSYNC_HTTP_ADDR")
	if !address.Set || !address.Known || s.OneShot {
		return
	}
	host, _, _ := net.SplitHostPort(address.Value)
	ip := net.ParseIP(host)
	if address.Value != "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return
	}
	severity, message := Warning, "the HTTP server is disabled, so `wait` and `status` cannot query the Pod"
	if address.Value != "" {
		message = "the HTTP server listens only inside the Pod, so `wait` and `status` cannot query the Pod"
	}
	if user := c.waiting(); user != nil {
		severity = Error
		message += fmt.Sprintf(", and %s runs `wait`", user)
	}
	c.add(severity, "http-server", address.Path, message, "remove SECRETSYNC_HTTP_ADDR: the default is :29808")
}

// waiting returns a workload of the input that runs wait, nil if there is none.
func (c *checker) waiting() *manifest.Object {
	for _, o := range c.Objects {
		w, err := manifest.NewWorkload(o, c.DefaultNamespace)
		if err == nil && w != nil && slices.ContainsFunc(w.Containers(), waits) {
			return o
		}
	}
	return nil
}

// waitCommand matches wait of the program or of the plugin in a command line. Flags may precede wait.
var waitCommand = regexp.MustCompile(`\bsecret[-_]sync["']?(\s+-\S+(\s+[^-\s]\S*)?)*[\s\\]+wait\b`)

// waits reports whether the container runs wait: as the command of the image, in a command line, which may be the
// argument of a shell, or as examples/rotate, which starts wait itself.
func waits(c manifest.Container) bool {
	isRotate := slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == "ROTATE_SECRET" })
	ofImage := len(c.Command) == 0 && len(c.Args) > 0 && c.Args[0] == "wait"
	return isRotate || ofImage || waitCommand.MatchString(strings.Join(slices.Concat(c.Command, c.Args), " "))
}

// checkPodFields: POD_NAMESPACE is required. Events and wait need the other two variables.
func checkPodFields(c *checker, s manifest.Sidecar) {
	if len(s.EnvFrom) > 0 {
		return
	}
	for _, field := range []struct{ variable, path string }{
		{"POD_NAMESPACE", "metadata.namespace"}, {"POD_NAME", "metadata.name"}, {"POD_UID", "metadata.uid"},
	} {
		if s.Variable(field.variable).Set || s.OneShot && field.variable != "POD_NAMESPACE" {
			continue
		}
		severity, reason := Warning, "`wait` does not recognize the Pod"
		if s.Variable("SECRETSYNC_EVENTS").IsTrue() {
			severity, reason = Error, "SECRETSYNC_EVENTS requires it"
		}
		if field.variable == "POD_NAMESPACE" {
			severity, reason = Error, "the sidecar does not start"
		}
		c.add(severity, "pod-fields", s.Path.Add("env"), fmt.Sprintf("%s is not set: %s", field.variable, reason),
			fmt.Sprintf("add `- {name: %s, valueFrom: {fieldRef: {fieldPath: %s}}}`", field.variable, field.path))
	}
}
