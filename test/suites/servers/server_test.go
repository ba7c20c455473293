//go:build programs

package servers

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A server is the container of a case below examples/cases, as a program in a pod. The
// sidecar and the program run with the same UID, as in the case.
type server struct {
	*podtest.Pod
	dir     string // the directory of the server
	sidecar *st.Run
	port    string
	args    []string // the arguments of the container, with the paths of the test
}

// nobody is the user of the programs and of the sidecar.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// newServer returns a pod with the settings of the case. The sidecar does not run yet.
func newServer(t *testing.T, folder string) *server {
	t.Helper()
	if !st.RealRoot() {
		t.Skip("needs root to give the sidecar the UID of the server")
	}
	template := template(t, folder)
	env := st.Env{"PATH": os.Getenv("PATH"), "SECRETSYNC_PROCESS_MIN_AGE": "1s"}
	for name, value := range template.Annotations {
		name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		env["SECRETSYNC_"+strings.TrimPrefix(name, "SECRET_SYNC/")] = value
	}
	_, port, err := net.SplitHostPort(childprocess.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{dir: testsupport.MemoryDir(t), port: port}
	env["SECRETSYNC_EXEC"] = strings.Replace(env["SECRETSYNC_EXEC"], `"redis-cli"`, `"redis-cli","-p","`+port+`"`, 1)
	s.Pod = podtest.New(t, env)
	for _, path := range []string{s.Dir, s.dir} {
		if err := os.Chmod(path, 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
	}
	s.Env["KUBECONFIG"] = st.CopyKubeconfig(t, s.Kubeconfig, "")
	for _, arg := range template.Spec.Containers[0].Args {
		arg = strings.Replace(arg, "/secrets", s.Dir, 1)
		s.args = append(s.args, strings.Replace(arg, "/data", s.dir, 1))
	}
	return s
}

// template returns the Pod template of the Deployment of a case.
func template(t *testing.T, folder string) corev1.PodTemplateSpec {
	t.Helper()
	var deployment struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}
	text, err := os.ReadFile("../../../examples/cases/" + folder + "/app.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &deployment)
	}
	if err != nil {
		t.Fatal(err)
	}
	return deployment.Spec.Template
}

// startSidecar starts the sidecar as user and waits for the files.
func (s *server) startSidecar(user *syscall.Credential, changes st.Env) {
	s.T.Helper()
	s.sidecar = s.StartAs(user, changes)
	s.sidecar.WaitLog("published")
}

// putAndWait updates the Secret and waits until the sidecar has notified the server.
func (s *server) putAndWait(secret *corev1.Secret) {
	s.T.Helper()
	s.update(secret)
	s.sidecar.WaitLog("notified the app")
}

// create creates the first version of the Secret.
func (s *server) create(secret *corev1.Secret) {
	s.T.Helper()
	if _, err := s.Secrets().Create(s.T.Context(), secret, metav1.CreateOptions{}); err != nil {
		s.T.Fatal(err)
	}
}

// update updates the Secret. Later calls of WaitLog ignore the log up to now.
func (s *server) update(secret *corev1.Secret) {
	s.T.Helper()
	s.sidecar.Mark()
	if _, err := s.Secrets().Update(s.T.Context(), secret, metav1.UpdateOptions{}); err != nil {
		s.T.Fatal(err)
	}
}
