package manifests

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestInject_rejectsInvalidAnnotations checks that each error names the cause.
func TestInject_rejectsInvalidAnnotations(t *testing.T) {
	s := injected(t)
	tests := map[string]struct {
		annotations string // a query such as secrets=db&process=app
		change      func(*corev1.PodSpec)
		want        string
	}{
		"unknown": {
			annotations: "secret=db",
			want:        "unknown annotation secret-sync/secret: the known annotations are secret-sync/secrets, ",
		},
		"no Secrets":    {annotations: "process=app", want: "set secret-sync/secrets, secret-sync/optional-secrets or"},
		"empty":         {annotations: "secrets=+", want: "secret-sync/secrets is empty"},
		"empty list":    {annotations: "secrets=,+,", want: "secret-sync/secrets: , , must be a list of Secret names"},
		"bad name":      {annotations: "secrets=db,Web", want: "db,Web must be a list of Secret names"},
		"empty process": {annotations: "secrets=db&process=", want: "secret-sync/process is empty"},
		"relative path": {
			annotations: "secrets=db&mount-path=etc",
			want:        "secret-sync/mount-path: etc must be an absolute path",
		},
		"bad optional name": {
			annotations: "secrets=db&optional-secrets=Web",
			want:        "secret-sync/optional-secrets: Web must be a list of Secret names",
		},
		"bad quantity": {
			annotations: "secrets=db&cpu-limit=50Mb&memory-limit=64Mi",
			want:        "secret-sync/cpu-limit: 50Mb must be a quantity",
		},
		"dots": {annotations: "secrets=db&mount-path=/a/../b", want: "/a/../b must be an absolute path"},
		"no such container": {
			annotations: "secrets=db&containers=app,web",
			want:        "the Pod does not contain web; its containers are app, proxy, migrate",
		},
		"path in use": {
			annotations: "secrets=db", change: mountsTheSamePath,
			want: "container app has another volume at /secrets",
		},
		"not restricted": {annotations: "secrets=db", change: runsAsRoot, want: "violates PodSecurity"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := plainPod(annotations(t, test.annotations))
			if test.change != nil {
				test.change(&pod.Spec)
			}
			_, err := create(s, pod)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func mountsTheSamePath(p *corev1.PodSpec) {
	p.Volumes = []corev1.Volume{emptyDir("own")}
	p.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/secrets"}}
}

func runsAsRoot(p *corev1.PodSpec) {
	p.SecurityContext.RunAsUser, p.SecurityContext.RunAsNonRoot = new(int64(0)), new(false)
}
