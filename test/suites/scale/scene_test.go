package scale

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const (
	// patience is the limit for everything that takes seconds on a quiet machine.
	patience = 2 * time.Minute
	// clients is the number of requests to the API server at a time.
	clients = 8
	// descriptors is the limit of the sidecar, far below the number of directories.
	descriptors = 256
)

// A scene is a namespace with many Secrets, and a sidecar for all of them.
type scene struct {
	*st.Scene
	t    *testing.T
	addr string            // of the HTTP server
	want map[string]string // path -> content
	hook *st.Webhook
	run  *st.Run
}

// newScene creates n Secrets named s0, s1 and so on, each with keys of the given size. The
// sidecar selects them with env.
func newScene(t *testing.T, n, keys, size int, env st.Env) *scene {
	t.Helper()
	s := &scene{t: t, addr: childprocess.FreeAddr(t), want: map[string]string{}, hook: st.NewWebhook(t)}
	all := st.Env{
		"SECRETSYNC_HTTP_ADDR": s.addr, "SECRETSYNC_LOG_LEVEL": "info", "SECRETSYNC_WEBHOOK_URL": s.hook.URL,
	}
	maps.Copy(all, env)
	s.Scene = st.New(t, all)
	s.StartProcess = startLimited
	for i := range n {
		for k := range keys {
			s.want[fmt.Sprintf("s%d/key%d", i, k)] = value(i, size)
		}
	}
	s.parallel(n, func(i int) error { return s.create(fmt.Sprint("s", i), keys) })
	return s
}

// value returns a value of the given size that contains n.
func value(n, size int) string {
	text := fmt.Sprint(n)
	return text + strings.Repeat("x", size-len(text))
}

// startLimited starts the sidecar with a low limit of descriptors.
func startLimited(cmd *exec.Cmd) (*childprocess.Process, error) {
	limit := fmt.Sprintf(`ulimit -n %d && exec "$@"`, descriptors)
	cmd.Args = append([]string{"sh", "-c", limit, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	return childprocess.Start(cmd)
}

// parallel calls do for 0 to n-1. Calls for numbers that are equal modulo clients run in
// order.
func (s *scene) parallel(n int, do func(i int) error) {
	s.t.Helper()
	var group errgroup.Group
	for first := range clients {
		group.Go(func() error {
			for i := first; i < n; i += clients {
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) create(name string, keys int) error {
	data := map[string][]byte{}
	for k := range keys {
		key := fmt.Sprint("key", k)
		data[key] = []byte(s.want[name+"/"+key])
	}
	labels := map[string]string{"scale": "yes"}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: data}
	_, err := s.Secrets().Create(s.t.Context(), secret, metav1.CreateOptions{})
	return err
}

// patch changes the first key of a Secret. The caller updates want.
func (s *scene) patch(name, value string) error {
	body, err := json.Marshal(map[string]any{"data": map[string][]byte{"key0": []byte(value)}})
	if err != nil {
		return err
	}
	_, err = s.Secrets().Patch(s.t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	return err
}

// change changes the first key of a Secret and waits until the app is notified.
func (s *scene) change(name, value string) {
	s.t.Helper()
	before := s.generation()
	s.want[name+"/key0"] = value
	if err := s.patch(name, value); err != nil {
		s.t.Fatal(err)
	}
	testsupport.EventuallyWithin(s.t, patience, "a notification", func() error {
		if got := s.generation(); got == before {
			return fmt.Errorf("the last notification is of generation %d", got)
		}
		return nil
	})
}

// generation returns the generation of the last notification, which follows every publish
// except the first.
func (s *scene) generation() uint64 {
	accepted := s.hook.Accepted()
	if len(accepted) == 0 {
		return 1
	}
	return accepted[len(accepted)-1].Generation
}

// start starts the sidecar and waits until it is current.
func (s *scene) start() {
	s.t.Helper()
	s.run = s.Start(nil)
	s.wait()
}

// wait waits until the sidecar is current. The documents are large, so it asks rarely.
func (s *scene) wait() {
	s.t.Helper()
	began := time.Now()
	for err := s.current(); err != nil; err = s.current() {
		if s.t.Context().Err() != nil || time.Since(began) > patience {
			s.t.Fatalf("waited %v for the current versions: %v", patience, err)
		}
		<-time.After(200 * time.Millisecond)
	}
}

// current returns an error unless the sidecar reports that it has published the newest
// version of every Secret and notified the app.
func (s *scene) current() error {
	body, err := status.Fetch(s.t.Context(), s.addr)
	if err != nil {
		return err
	}
	d, err := status.Parse(body)
	if err != nil {
		return err
	}
	for _, target := range d.Targets {
		if target.Pending || target.Notified != d.Generation {
			return fmt.Errorf("%s was notified of generation %d of %d", target.Name, target.Notified, d.Generation)
		}
	}
	all, err := s.Secrets().List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, want := range all.Items {
		got := d.Secrets[want.Name]
		if got.ResourceVersion != want.ResourceVersion || got.Refused != "" {
			return fmt.Errorf("%s: got %+v, want version %s", want.Name, got, want.ResourceVersion)
		}
	}
	if len(d.Secrets) != len(all.Items) || !d.Complete {
		return fmt.Errorf("%d of %d Secrets, complete: %v", len(d.Secrets), len(all.Items), d.Complete)
	}
	return nil
}

// check compares every file with the Secrets and searches the log for problems.
func (s *scene) check() {
	s.t.Helper()
	if err := errors.Join(s.current(), s.Ready(), s.compare()); err != nil {
		s.t.Error(err)
	}
	for line := range strings.Lines(s.run.Log.String()) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
			s.t.Errorf("got a log line with a problem: %.300s", line)
		}
	}
}

// compare returns an error with the number of wrong files and one of their names.
func (s *scene) compare() error {
	got, err := s.Files()
	if err != nil {
		return err
	}
	wrong, example := 0, ""
	for path := range s.want {
		if content, ok := got[path]; !ok || content != s.want[path] {
			wrong, example = wrong+1, path
		}
	}
	if wrong > 0 || len(got) != len(s.want) {
		return fmt.Errorf("%d files, want %d; %d are wrong or missing, such as %q", len(got), len(s.want), wrong,
			example)
	}
	return nil
}

// end sends SIGTERM. The sidecar ends itself within a second. A loaded machine runs it late,
// so the limit is longer.
func (s *scene) end(state string) {
	s.t.Helper()
	began := time.Now()
	if err := s.run.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.run.WaitExit(0, 6*time.Second)
	s.t.Logf("%s: ended %d ms after SIGTERM", state, time.Since(began).Milliseconds())
}
