package canary

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// A canary is a sidecar that notifies a process by name, a process by PID file, a webhook
// and a command.
type canary struct {
	*st.Scene
	marks
	route    *faultproxy.Route
	t        *testing.T
	user     *syscall.Credential
	run      *st.Run
	http     string
	output   string // the file to which the command writes
	cores    string // the directory for a core dump
	requests testsupport.Log
	refused  atomic.Bool // the webhook returns an error
}

// number is the number of canaries so far.
var number atomic.Int64

// sharedDir returns a directory for every user. t.TempDir is private.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(st.Binary()), "canary-")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func newCanary(t *testing.T) *canary {
	c := &canary{t: t, http: childprocess.FreeAddr(t), cores: sharedDir(t)}
	if os.Getuid() == 0 { // other users have only one UID anyway
		c.user = &syscall.Credential{Uid: 65532, Gid: 65532}
	}
	c.output = filepath.Join(c.cores, "output")
	hook := httptest.NewServer(http.HandlerFunc(c.webhook))
	t.Cleanup(hook.Close)
	name := fmt.Sprintf("canary%d-%d", os.Getpid()%100000, number.Add(1)) // at most 15 bytes
	c.app(name)
	byFile := c.app("filed")
	pidFile := filepath.Join(c.cores, "pid")
	st.Write(t, pidFile, strconv.Itoa(byFile.PID()))
	if err := os.Chmod(pidFile, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Scene, c.route = faultproxy.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "refused",
		"SECRETSYNC_REQUIRED_KEYS": "refused/must",
		"SECRETSYNC_HTTP_ADDR":     c.http, "SECRETSYNC_EVENTS": "true",
		"SECRETSYNC_PROCESS": name, "SECRETSYNC_PID_FILE": pidFile, "SECRETSYNC_PROCESS_MIN_AGE": "0s",
		"SECRETSYNC_WEBHOOK_URL": hook.URL,
		"SECRETSYNC_EXEC":        `["/bin/sh", "-c", "{ env; cat; } >> ` + c.output + `; echo notified"]`,
		"POD_NAME":               "pod", "POD_UID": "00000000-0000-0000-0000-000000000001", "GOTRACEBACK": "crash",
	})
	c.Env["KUBECONFIG"] = c.kubeconfig()
	c.StartProcess = func(cmd *exec.Cmd) (*childprocess.Process, error) {
		cmd.Dir = c.cores
		if err := allowCores(); err != nil {
			return nil, err
		}
		return childprocess.Start(cmd)
	}
	return c
}

// allowCores allows the children of this process to leave core dumps of any size.
func allowCores() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_CORE, &limit)
}

// kubeconfig copies the kubeconfig of the fault proxy for the sidecar's user.
func (c *canary) kubeconfig() string {
	config, err := clientcmd.LoadFromFile(c.Env["KUBECONFIG"])
	if err != nil {
		c.t.Fatal(err)
	}
	ca := filepath.Join(c.cores, "ca.crt")
	st.Write(c.t, ca, st.Read(c.t, c.route.Gateway.CAFile))
	c.route.Gateway.CAFile = ca
	config.Clusters["c"].CertificateAuthority = ca
	for _, user := range config.AuthInfos {
		user.Token, user.TokenFile = st.Read(c.t, user.TokenFile), ""
	}
	path := filepath.Join(c.cores, "kubeconfig")
	err = errors.Join(clientcmd.WriteToFile(*config, path), os.Chmod(path, 0o644), os.Chmod(ca, 0o644))
	if err != nil {
		c.t.Fatal(err)
	}
	return path
}

// app starts a process of the sidecar's user that handles HUP.
func (c *canary) app(name string) *childprocess.Process {
	path := filepath.Join(c.cores, name)
	if err := os.Symlink("/bin/sh", path); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", "trap : HUP; while :; do sleep 1; done")
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
	p, err := childprocess.Start(cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.Kill)
	return p
}

func (c *canary) webhook(w http.ResponseWriter, r *http.Request) {
	dump, _ := httputil.DumpRequest(r, true)
	_, _ = c.requests.Write(dump)
	if c.refused.Load() {
		http.Error(w, "no", http.StatusInternalServerError)
	}
}

// createPod creates the Pod for the command wait.
func (c *canary) createPod() {
	host, port, _ := strings.Cut(c.http, ":")
	number, _ := strconv.Atoi(port)
	always, no := corev1.ContainerRestartPolicyAlways, false
	pods := st.ControlPlane().Client.CoreV1().Pods(c.Namespace)
	sidecar := corev1.Container{
		Name: "secret-sync", Image: "secret-sync", RestartPolicy: &always,
		Ports: []corev1.ContainerPort{{Name: "secret-sync", ContainerPort: int32(number)}},
	}
	pod, err := pods.Create(c.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod", Labels: map[string]string{"app": "canary"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: st.Account, AutomountServiceAccountToken: &no, NodeName: "node",
			InitContainers: []corev1.Container{sidecar}, Containers: []corev1.Container{{Name: "app", Image: "app"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, host, []corev1.PodIP{{IP: host}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: sidecar.Name, State: running}}
	if _, err := pods.UpdateStatus(c.t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}
