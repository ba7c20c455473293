package controlplane

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

const role = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [db], verbs: [get]}]
---
# only a comment
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: sa}]
`

// TestMain is also the parent process in TestControlPlane_parentKilled.
func TestMain(m *testing.M) {
	if os.Getenv("CONTROLPLANE_TEST_PARENT") == "" {
		os.Exit(m.Run())
	}
	cp, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(cp.dir, cp.etcd.process.PID(), cp.api.process.PID())
	select {}
}

// TestControlPlane_stopAndStart uses RBAC before and after a restart of the API server.
func TestControlPlane_stopAndStart(t *testing.T) {
	ctx := t.Context()
	cp, err := Start(ctx, Options{Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClosed(t, cp) })
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: map[string]string{"k": "v"}}
	if _, err := cp.Client.CoreV1().Secrets("default").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	path, err := cp.TokenKubeconfig(ctx, "default", "sa")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	reader := kubernetes.NewForConfigOrDie(config).CoreV1().Secrets("default")
	if _, err := reader.Get(ctx, "db", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("get without a Role: %v, want forbidden", err)
	}
	if err := Apply(ctx, cp.Config, "default", []byte(role), false); err != nil {
		t.Fatal(err)
	}
	get := func() error { _, err := reader.Get(ctx, "db", metav1.GetOptions{}); return err }
	testsupport.Eventually(t, "get with the Role", get)

	cp.StopAPIServer()
	if _, err := http.Get(cp.Config.Host); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("stopped API server: %v, want connection refused", err)
	}
	if err := cp.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	testsupport.Eventually(t, "get after the restart", get)
}

func checkClosed(t *testing.T, cp *ControlPlane) {
	if err := cp.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(cp.Dir()); !os.IsNotExist(err) {
		t.Errorf("after Close, stat %s: %v, want not exist", cp.Dir(), err)
	}
}

// TestDecode_invalid also decodes a manifest with a document of comments only.
func TestDecode_invalid(t *testing.T) {
	if _, err := Decode([]byte("a: b: c")); err == nil {
		t.Error("Decode accepted invalid YAML")
	}
	objects, err := Decode([]byte(role))
	if err != nil || len(objects) != 2 {
		t.Errorf("Decode: %d objects, %v, want 2", len(objects), err)
	}
}

// TestDependentGoMod_staging: the module requires the release and its staging modules, and
// keeps the versions of other dependencies and of the language.
func TestDependentGoMod_staging(t *testing.T) {
	released := `module k8s.io/kubernetes

go 1.24.0

require (
	k8s.io/api v0.0.0
	google.golang.org/grpc v1.72.1
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
)

replace k8s.io/kms => ./staging/src/k8s.io/kms
`
	want := `module servers

go 1.24.0

require (
	k8s.io/api v0.0.0
	google.golang.org/grpc v1.72.1
)

replace (
	k8s.io/api => k8s.io/api v0.34.4
)

replace k8s.io/kms => k8s.io/kms v0.34.4

require k8s.io/kubernetes v1.34.4
`
	got := dependentGoMod([]byte(released), "v1.34.4")
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if found := kubernetesVersion.FindSubmatch(got); found == nil || string(found[1]) != "v1.34.4" {
		t.Errorf("got version %q, want v1.34.4", found)
	}
}

// TestControlPlane_parentKilled: the servers end with their parent,
// even after kill -9.
func TestControlPlane_parentKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CONTROLPLANE_TEST_PARENT=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	parent, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var dir string
	var etcd, api int
	line, _ := bufio.NewReader(out).ReadString('\n')
	if _, err := fmt.Sscan(line, &dir, &etcd, &api); err != nil {
		parent.Kill()
		t.Fatalf("the parent printed %q", line)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	parent.Kill()
	for name, pid := range map[string]int{"etcd": etcd, "kube-apiserver": api} {
		testsupport.Eventually(t, name+" to end", func() error {
			if err := syscall.Kill(pid, 0); err != syscall.ESRCH && !zombie(pid) {
				return fmt.Errorf("kill -0 %d: %v", pid, err)
			}
			return nil
		})
	}
}

// zombie reports whether a process ended but was not reaped: a container may lack an
// init process.
func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(after, "Z")
}
