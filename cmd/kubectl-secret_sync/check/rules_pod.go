package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// evaluator evaluates the Pod Security Standards, as the API server does.
var evaluator = sync.OnceValue(func() policy.Evaluator {
	e, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		panic("the checks of Pod Security are invalid: " + err.Error())
	}
	return e
})

// uidRange is the annotation of OpenShift with the UIDs that it permits: 1000650000/10000.
const uidRange = "openshift.io/sa.scc.uid-range"

// checkPodSecurity: the namespace of the Pod accepts the Pod.
func checkPodSecurity(c *checker) {
	namespace := c.object("Namespace", "", c.Namespace)
	if namespace == nil {
		return
	}
	enforced, invalid := api.PolicyToEvaluate(namespace.GetLabels(), api.Policy{
		Enforce: privileged, Audit: privileged, Warn: privileged,
	})
	if len(invalid) > 0 {
		c.addTo(namespace, Note, "unknown", manifest.Path{"metadata", "labels"}, invalid.ToAggregate().Error(),
			"correct the label")
	}
	for _, result := range evaluator().EvaluatePod(enforced.Enforce, &c.Meta, &c.Spec) {
		if !result.Allowed {
			c.add(Error, "pod-security", securityPath(c.Workload, result.ForbiddenReason),
				fmt.Sprintf("Pod Security %s of namespace %s rejects the Pod: %s",
					enforced.Enforce.Level, c.Namespace, result.ForbiddenDetail),
				"correct the securityContext")
		}
	}
	checkUIDRange(c, namespace.GetAnnotations()[uidRange])
}

var privileged = api.LevelVersion{Level: api.LevelPrivileged, Version: api.LatestVersion()}

// securityPath returns the place of the field that Pod Security rejects. It is the whole spec
// if there are several.
func securityPath(w *manifest.Workload, reason string) manifest.Path {
	if !strings.HasPrefix(reason, "runAsUser") {
		return w.SpecPath()
	}
	for _, c := range w.Containers() {
		if user := w.User(c); user != nil && *user == 0 {
			return w.UserPath(c)
		}
	}
	return w.SpecPath("securityContext")
}

// checkUIDRange: OpenShift assigns a range of UIDs to a namespace, and rejects other UIDs.
func checkUIDRange(c *checker, text string) {
	first, size, _ := strings.Cut(text, "/")
	from, err := strconv.ParseInt(first, 10, 64)
	count, errSize := strconv.ParseInt(size, 10, 64)
	if err != nil || errSize != nil {
		return
	}
	var seen []int64
	for _, container := range c.Containers() {
		user := c.User(container)
		if user == nil || *user >= from && *user < from+count || slices.Contains(seen, *user) {
			continue
		}
		seen = append(seen, *user)
		c.add(Error, "pod-security", c.UserPath(container),
			fmt.Sprintf("namespace %s permits only the UIDs from %d to %d",
				c.Namespace, from, from+count-1),
			"remove `runAsUser`: OpenShift assigns the same UID to all containers")
	}
}

// tokenDir is the folder in which a client in a Pod finds its token.
const tokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// checkToken: only the sidecar receives a token.
func checkToken(c *checker) {
	if !c.automounts() {
		for _, s := range c.Sidecars {
			mounts := func(m corev1.VolumeMount) bool { return strings.TrimRight(m.MountPath, "/") == tokenDir }
			if !slices.ContainsFunc(s.VolumeMounts, mounts) {
				c.add(Error, "no-token", s.Path.Add("volumeMounts"),
					fmt.Sprintf("container %s has no token for the API server", s.Name),
					"mount a projected volume with `serviceAccountToken` at "+tokenDir+", as in the README")
			}
		}
		return
	}
	for _, app := range c.Sidecars[0].Others() {
		c.add(Warning, "token", c.SpecPath("automountServiceAccountToken"),
			fmt.Sprintf("container %s receives the token of the sidecar", app.Name),
			"set `automountServiceAccountToken: false`, and mount a token only in the sidecar, as in the README")
	}
}

// automounts reports whether the kubelet mounts a token in all containers. The Pod's field takes
// precedence over the service account's field.
func (c *checker) automounts() bool {
	if c.Spec.AutomountServiceAccountToken != nil {
		return *c.Spec.AutomountServiceAccountToken
	}
	account := c.object("ServiceAccount", c.Namespace, c.Account())
	if account == nil {
		return true
	}
	automount, set := account.UnstructuredContent()["automountServiceAccountToken"].(bool)
	return automount || !set
}
