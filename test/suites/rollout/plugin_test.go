package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/build"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// buildPlugin builds the kubectl plugin in dir.
func buildPlugin(ctx context.Context, dir string) (path string, err error) {
	source, err := build.RepositoryDir(ctx)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "kubectl-secret_sync")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(source, "cmd", "kubectl-secret_sync"),
		"-o", path, ".")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin: %w\n%s", err, out)
	}
	return path, nil
}

var pluginPath = sync.OnceValues(func() (string, error) { // removed with the directory of the control plane
	return buildPlugin(context.Background(), st.ControlPlane().Dir())
})

// startPlugin starts the kubectl plugin with a kubeconfig. It writes to the terminal, if any.
func startPlugin(t testing.TB, kubeconfig string, terminal *os.File, args ...string) *waiting {
	t.Helper()
	path, err := pluginPath()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, "--kubeconfig", kubeconfig)...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "TERM=xterm"}
	if terminal != nil {
		cmd.Stdout, cmd.Stderr = terminal, terminal
	}
	w := &waiting{t: t}
	w.start(cmd)
	return w
}

// openTerminal returns a pseudo-terminal of 100 columns and its output.
func openTerminal(t testing.TB) (*os.File, *testsupport.Log) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 100})
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := &testsupport.Log{}
	var reading sync.WaitGroup
	reading.Go(func() { // it ends with an error after the last process has closed the terminal
		b := make([]byte, 4096)
		for n, err := master.Read(b); err == nil; n, err = master.Read(b) {
			_, _ = out.Write(b[:n])
		}
	})
	t.Cleanup(func() {
		terminal.Close()
		reading.Wait()
		master.Close()
	})
	return terminal, out
}

func prints(t testing.TB, out *testsupport.Log, texts ...string) {
	t.Helper()
	for _, text := range texts {
		testsupport.Eventually(t, "the plugin prints "+text, func() error {
			if all := out.String(); !strings.Contains(all, text) {
				return fmt.Errorf("got %q", all)
			}
			return nil
		})
	}
}

// TestPlugin_wait: the plugin decides as `secret-sync wait` does, and has the flags of kubectl.
func TestPlugin_wait(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	other, _ := newScene(t)
	newReplica(t, other, "app", nil)
	r := newReplica(t, s, "app", nil)
	startPlugin(t, kubeconfig, nil, "wait", "--secret", "db", "-n", s.Namespace, "-l", labels, "--direct").exits(0,
		"all 1 Pods are on version")
	admin := st.ControlPlane().Kubeconfig()
	startPlugin(t, admin, nil, "wait", "--secret", "db", "-n", s.Namespace, "-n", other.Namespace, "--direct").exits(0,
		"all 2 Pods")
	startPlugin(t, admin, nil, "wait", "-n", s.Namespace, "-o", "yaml").exits(2, "--secret is missing", `-o "yaml"`)

	r.app.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", map[string]string{"password": "1"})
	r.wait(t, "1")
	terminal, out := openTerminal(t)
	wait := startPlugin(t, kubeconfig, terminal, "wait", "--secret", "db", "-n", s.Namespace, "--direct")
	prints(t, out, "\r[--------------------] 0 of 1 Pods are done: waiting for app: webhook is not notified yet: ")
	r.app.Status.Store(http.StatusOK)
	wait.exits(0)
	prints(t, out, "all 1 Pods are on version")
	for _, line := range strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if strings.HasPrefix(line, "[") && len([]rune(strings.TrimRight(line, " "))) > 99 {
			t.Errorf("the bar is wider than the terminal: %q", line)
		}
	}
}

// TestPlugin_status: a row per Pod, those that need attention first.
func TestPlugin_status(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "done", nil)
	pending := newReplica(t, s, "app-pending", nil)
	pending.app.Status.Store(http.StatusServiceUnavailable)
	newReplica(t, s, "unnotified", st.Env{"SECRETSYNC_WEBHOOK_URL": ""})
	newPod(t, s, "unreachable", newAddress(), oneSidecar) // nobody listens there
	wire := s.Wire()
	lost := newReplica(t, s, "lost", nil)
	s.SetSecret("db", map[string]string{"password": "1"})
	version := s.Get("db").ResourceVersion
	for _, r := range []*replica{pending, lost} {
		r.wait(t, "1")
	}
	wire.Cut()
	args := []string{"status", "db", "-n", s.Namespace, "-l", labels, "--direct"}
	table := untilStatus(t, kubeconfig, args, func(rows []string) error {
		want := []struct{ name, cells string }{
			{"Secret", s.Namespace + "/db: version " + version + ", used by 2 of 5 Pods"},
			{"POD", "VERSION AGE TARGETS WATCH REASON"},
			{"unreachable", "unknown unknown unknown its sidecar does not answer"},
			{"app-pending", version +
				" webhook pending for HTTP 503 up webhook is not notified yet: HTTP 503"},
			{"lost", version + " webhook notified down since the watch of its sidecar is down"},
			{"done", version + " webhook notified up -"},
			{"unnotified", version + " none up files in place, nobody was notified"},
		}
		if len(rows) != len(want) {
			return fmt.Errorf("got %d rows, want %d", len(rows), len(want))
		}
		for i, w := range want {
			name, rest, _ := strings.Cut(rows[i], " ")
			for _, cell := range strings.Fields(w.cells) {
				if name != w.name || !strings.Contains(rest, cell) {
					return fmt.Errorf("row %d: got %q, want %s with %q", i, rows[i], w.name, w.cells)
				}
			}
		}
		return nil
	})
	if strings.Contains(table, "\x1b") {
		t.Errorf("colors without a terminal:\n%s", table)
	}
	terminal, out := openTerminal(t)
	startPlugin(t, kubeconfig, terminal, args...).exits(0)
	prints(t, out, "\x1b[31munreachable ", "\x1b[33mapp-pending ", "\ndone ")

	pending.app.Status.Store(http.StatusOK)
	printed := startPlugin(t, kubeconfig, nil, append(args, "-o", "json")...)
	printed.exits(0)
	var got struct {
		Versions []struct{ ResourceVersion string }
		Pods     []struct {
			Name     string
			Done     bool
			Sidecars map[string]*document
		}
	}
	if err := json.Unmarshal([]byte(printed.out.String()), &got); err != nil {
		t.Fatalf("%v:\n%s", err, printed.out.String())
	}
	if len(got.Versions) != 1 || got.Versions[0].ResourceVersion != version || len(got.Pods) != 5 ||
		got.Pods[0].Sidecars["secret-sync"] != nil ||
		got.Pods[4].Sidecars["secret-sync"].Secrets["db"].ResourceVersion != version {
		t.Errorf("got %+v", got)
	}
	startPlugin(t, kubeconfig, nil, append(args, "-o", "wide")...).exits(0, "CONTAINER", "INSTANCE", "(uid ")
}

// untilStatus waits until the rows of the table pass check, and returns the table.
func untilStatus(t testing.TB, kubeconfig string, args []string, check func(rows []string) error) (table string) {
	t.Helper()
	testsupport.Eventually(t, "the table", func() error {
		w := startPlugin(t, kubeconfig, nil, args...)
		w.exits(0)
		table = w.out.String()
		if err := check(strings.Split(strings.TrimSpace(table), "\n")); err != nil {
			return fmt.Errorf("%w:\n%s", err, table)
		}
		return nil
	})
	return table
}

// TestPlugin_statusOfUsers: without a selector the users of the Secret appear, also users
// without the sidecar and Pods that have not started.
func TestPlugin_statusOfUsers(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	args := []string{"status", "db", "-n", s.Namespace, "--direct"}
	startPlugin(t, kubeconfig, nil, args...).exits(0, "No Pod counts")
	newReplica(t, s, "app", nil)
	newPod(t, s, "volume", newAddress(), nil, func(pod *corev1.Pod) {
		source := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db"}}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "creds", VolumeSource: source})
	})
	newPod(t, s, "unrelated", newAddress(), nil)
	newPod(t, s, "image", "", oneSidecar, func(pod *corev1.Pod) {
		pod.Status.InitContainerStatuses = []corev1.ContainerStatus{waitingStatus("secret-sync")}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{waitingStatus("app")}
	})
	w := startPlugin(t, kubeconfig, nil, args...)
	w.exits(0, "used by 1 of 3 Pods", "unknown: volume creds contains it", "no container has started yet")
	if strings.Contains(w.out.String(), "unrelated") {
		t.Errorf("a Pod without the Secret appears:\n%s", w.out.String())
	}
	startPlugin(t, kubeconfig, nil, "status", "absent", "-n", s.Namespace).exits(1, "namespace "+s.Namespace)
	startPlugin(t, kubeconfig, nil, "status").exits(2, "the name of the Secret is missing")
}

// TestPlugin_statusFollows: with -w a change prints another table, and on a terminal the table
// is redrawn.
func TestPlugin_statusFollows(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	newReplica(t, s, "app", nil)
	args := []string{"status", "db", "-n", s.Namespace, "--direct", "-w"}
	w := startPlugin(t, kubeconfig, nil, args...)
	terminal, out := openTerminal(t)
	onTerminal := startPlugin(t, kubeconfig, terminal, args...)
	prints(t, w.out, "used by 1 of 1 Pods")
	s.SetSecret("db", map[string]string{"password": "1"})
	version := s.Get("db").ResourceVersion
	prints(t, w.out, "\nSecret "+s.Namespace+"/db: version "+version)
	prints(t, out, "\x1b[H\x1b[2JSecret "+s.Namespace+"/db: version "+version)
	_ = w.cmd.Process.Signal(os.Interrupt)
	_ = onTerminal.cmd.Process.Signal(os.Interrupt)
	w.exits(0)
	onTerminal.exits(0)
}

// TestPlugin_statusOfAllNamespaces: -A shows the Secrets of this name in all namespaces.
func TestPlugin_statusOfAllNamespaces(t *testing.T) {
	t.Parallel()
	s, kubeconfig := newScene(t)
	other, _ := newScene(t)
	for _, scene := range []*st.Scene{s, other} {
		newReplica(t, scene, "app-of-"+scene.Namespace, nil)
	}
	admin := st.ControlPlane().Kubeconfig()
	startPlugin(t, admin, nil, "status", "db", "-A", "--direct").exits(0, "NAMESPACE",
		"Secret "+s.Namespace+"/db: version ", "Secret "+other.Namespace+"/db: version ", "app-of-"+s.Namespace,
		"app-of-"+other.Namespace)
	startPlugin(t, kubeconfig, nil, "status", "db", "-A", "--direct").
		exits(1, "list the namespaces for -A", "forbidden")
}
