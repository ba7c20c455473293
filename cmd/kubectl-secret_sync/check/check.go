package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/access"
	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// A Cluster answers questions about the cluster around a workload.
type Cluster interface {
	// SecretKeys returns the names of the keys of a Secret. found is false if the Secret does
	// not exist. keys is nil if names is false, so no data leaves the API server.
	SecretKeys(ctx context.Context, namespace, secret string, names bool) (keys []string, found bool, err error)
	// Allowed reports whether a service account may use a verb on a resource of the core group. An
	// empty name stands for all objects.
	Allowed(ctx context.Context, account access.Account, verb, resource, name string) (bool, error)
	// Bindings returns the RoleBindings of a namespace and the ClusterRoleBindings. With an error, it
	// returns the bindings that it can read.
	Bindings(ctx context.Context, namespace string) ([]*manifest.Object, error)
	// Object returns an object of the cluster, nil if it does not exist.
	Object(ctx context.Context, kind, namespace, name string) (*manifest.Object, error)
}

// Input is the input of a check.
type Input struct {
	Objects          []*manifest.Object
	DefaultNamespace string  // of objects without a namespace
	Cluster          Cluster // nil: decide by the objects alone
}

// A checker checks a workload. The rules add their findings to the report.
type checker struct {
	*Input
	*manifest.Workload
	ctx    context.Context
	report *Report
}

// sidecarRules check a single sidecar of a workload, workloadRules the whole Pod.
var (
	sidecarRules = []func(*checker, manifest.Sidecar){
		checkUnknown, checkNative, checkStartupProbe, checkHTTPServer, checkPodFields,
		checkVolume, checkReaders, checkOwners, checkMemory,
		checkProcessNamespace, checkUID, checkProcessName, checkWebhook,
		checkSecrets, checkOtherUse,
	}
	workloadRules = []func(*checker){checkRole, checkPodSecurity, checkToken}
)

// Run checks the workloads of the input. Its error says that the input or the cluster cannot be
// read.
func Run(ctx context.Context, in Input) (*Report, error) {
	report := &Report{Findings: []Finding{}}
	for _, o := range in.Objects {
		w, err := manifest.NewWorkload(o, in.DefaultNamespace)
		if err != nil {
			return report, err
		}
		if w == nil {
			continue
		}
		c := &checker{Input: &in, Workload: w, ctx: ctx, report: report}
		if len(w.Sidecars) == 0 {
			checkInjected(c)
			continue
		}
		report.Workloads++
		for _, rule := range sidecarRules {
			for _, s := range w.Sidecars {
				rule(c, s)
			}
		}
		for _, rule := range workloadRules {
			rule(c)
		}
	}
	report.sort()
	return report, nil
}

// add adds a finding about the workload. rule is the name of a rule in anchors.
func (c *checker) add(severity Severity, rule string, at manifest.Path, message, remedy string) {
	c.addTo(c.Workload.Object, severity, rule, at, message, remedy)
}

// addTo adds a finding about an object.
func (c *checker) addTo(o *manifest.Object, severity Severity, rule string, at manifest.Path, message, remedy string) {
	anchor, known := anchors[rule]
	if !known {
		panic("rule without an anchor: " + rule)
	}
	c.report.Findings = append(c.report.Findings, Finding{
		Severity: severity, Rule: rule, Object: o.String(), Field: at.String(), File: o.File, Line: o.Line(at),
		Message: message, Remedy: remedy, Link: page + anchor,
	})
}

// unknown adds a note that check could not decide.
func (c *checker) unknown(at manifest.Path, format string, args ...any) {
	c.add(Note, "unknown", at, fmt.Sprintf(format, args...), "check it by hand")
}

// object returns an object of the input, or else of the cluster. It returns nil if there is none.
func (c *checker) object(kind, namespace, name string) *manifest.Object {
	i := slices.IndexFunc(c.Objects, func(o *manifest.Object) bool {
		same := namespace == "" || cmp.Or(o.GetNamespace(), c.DefaultNamespace) == namespace
		return o.GetKind() == kind && o.GetName() == name && same
	})
	if i >= 0 {
		return c.Objects[i]
	}
	if c.Cluster == nil {
		return nil
	}
	o, err := c.Cluster.Object(c.ctx, kind, namespace, name)
	if err != nil {
		c.unknown(nil, "cannot read %s %s: %v", kind, name, err)
	}
	return o
}

// checkInjected notes a Pod whose sidecar is added later.
func checkInjected(c *checker) {
	for key := range c.Meta.Annotations {
		if strings.HasPrefix(key, "secret-sync/") {
			c.add(Note, "injected", c.Path.Add("metadata", "annotations"),
				"the Pod has annotations of secret-sync and no sidecar",
				"check the output of `kubectl kustomize`, or a Pod to which the policy added the sidecar")
			return
		}
	}
}

// anchors contains the section of the page for each rule.
var anchors = map[string]string{
	"injected":          "the-sidecar-is-added-later",
	"unknown":           "check-cannot-decide",
	"native-sidecar":    "the-sidecar-is-not-a-native-sidecar",
	"startup-probe":     "the-startup-probe-is-missing",
	"http-server":       "the-http-server-is-not-reachable",
	"pod-fields":        "a-variable-of-the-pod-is-missing",
	"volume":            "the-volume-of-the-files-is-missing",
	"volume-kind":       "the-volume-is-not-an-emptydir-in-memory",
	"volume-size":       "the-volume-has-no-sizelimit",
	"read-only":         "the-volume-is-mounted-read-only",
	"sub-path":          "the-files-change-but-not-in-a-subpath-mount",
	"writable":          "the-app-can-write-to-the-volume",
	"not-mounted":       "no-container-mounts-the-volume",
	"other-uid":         "the-files-belong-to-another-uid",
	"memory":            "the-sidecar-is-out-of-memory",
	"process-namespace": "the-process-namespace-is-not-shared",
	"signal-uid":        "the-app-runs-as-another-uid",
	"process-name":      "no-process-has-the-name",
	"webhook-port":      "the-webhook-does-not-answer",
	"role":              "the-api-server-answers-403",
	"role-too-wide":     "the-role-grants-more-than-necessary",
	"secret":            "the-files-do-not-appear",
	"secret-key":        "a-secret-lacks-a-key",
	"other-use":         "the-pod-also-reads-the-secret-directly",
	"pod-security":      "pod-security-rejects-the-pod",
	"token":             "the-app-receives-a-token",
	"no-token":          "the-sidecar-has-no-token",
}
