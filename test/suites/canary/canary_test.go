package canary

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// sidecars share the faults, because each sidecar pauses after each of them.
const sidecars = 4

// TestCanary_everyOutput searches for the values of a Secret in every output, with all
// targets enabled, at debug level, and through every fault. The values may occur only in
// the files.
func TestCanary_everyOutput(t *testing.T) {
	for share := range sidecars {
		t.Run(fmt.Sprintf("share %d of %d", share+1, sidecars), func(t *testing.T) {
			t.Parallel()
			newCanary(t).everyOutput(share)
		})
	}
}

// everyOutput searches every output, after a share of the faults.
func (c *canary) everyOutput(share int) {
	c.rotate()
	c.run = c.StartAs(c.user, nil)
	c.CheckWritten()
	c.createPod()
	for i, f := range faultproxy.Faults {
		if i%sidecars == share {
			c.through(f.Name, func() { f.Begin(c.route) }, func() { f.End(c.route) })
		}
	}
	answers := c.answersWithMarks()
	for i, name := range slices.Sorted(maps.Keys(answers)) {
		if i%sidecars == share {
			answer := answers[name]
			c.through(name, func() { c.route.Gateway.SetAnswer(answer) }, func() { c.route.Gateway.SetAnswer(nil) })
		}
	}
	c.through("no notification", func() { c.refused.Store(true) }, func() { c.refused.Store(false) })
	c.through("a volume that is read-only", func() { c.chmod(0o555) }, func() { c.chmod(0o777) })
	c.harm()
	c.refusedSecrets()
	c.fetchAll()
	c.commands()
	c.checkOtherProcess()
	c.coreDump()
	c.commands() // from the volume
	c.check("the log", c.run.Log.String())
	c.check("the webhook's requests", c.requests.String())
	c.check("the command's environment and input", st.Read(c.t, c.output))
	c.events()
}

// rotate sets a new value, also in the annotation of kubectl.
func (c *canary) rotate() {
	value := c.newValue()
	c.SetSecret("db", files{"password": value, "user": "app"})
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":%q}}}`,
		`{"data":{"password":"`+base64.StdEncoding.EncodeToString([]byte(value))+`"}}`)
	const mergePatch = "application/merge-patch+json"
	if _, err := c.Secrets().Patch(c.t.Context(), "db", mergePatch, []byte(patch), metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// CheckWritten waits until the files contain the current value. Without this check the
// search could succeed only because the sidecar never read the value.
func (c *canary) CheckWritten() {
	c.t.Helper()
	testsupport.EventuallyWithin(c.t, patience, "files", func() error {
		return c.CheckFiles(files{"db/password": c.values[len(c.values)-1], "db/user": "app"})
	})
}

// through changes the Secret during a fault, which the sidecar must log, and after it.
func (c *canary) through(name string, begin, end func()) {
	c.run.Mark()
	begin()
	c.rotate()
	c.run.WaitLog(`"err":`)
	end()
	c.rotate()
	if err := c.run.Signal(syscall.SIGHUP); err != nil { // read the Secret again at once
		c.t.Fatal(err)
	}
	c.CheckWritten()
	c.check("the log, through "+name, c.run.Log.String())
}

// answersWithMarks contain a value in a place where no client expects it.
func (c *canary) answersWithMarks() map[string]faultproxy.Answer {
	value := c.newValue()
	encoded := base64.StdEncoding.EncodeToString([]byte(value))
	list := `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"1"},` +
		`"items":[{"metadata":{"name":"db"},"data":{"password":`
	return map[string]faultproxy.Answer{
		"a value that is no base64": faultproxy.Respond(200, "application/json", list+`"`+value+`!"}}]}`, ""),
		"a value that is cut off":   faultproxy.Respond(200, "application/json", list+`"`+encoded, ""),
		"a value that is a number":  faultproxy.Respond(200, "application/json", list+`{"`+encoded+`":1}}}]}`, ""),
		"a value as text":           faultproxy.Respond(200, "text/plain", value, ""),
		"a value as YAML": faultproxy.Respond(200, "application/yaml",
			"password: "+value+"\n\t- "+encoded, ""),
		"a value as protobuf": faultproxy.Respond(
			200,
			"application/vnd.kubernetes.protobuf",
			"k8s\x00"+value+encoded,
			"",
		),
		"a value in a proxy's text": faultproxy.Respond(502, "text/plain", value+" "+encoded, ""),
		"a value instead of HTML":   faultproxy.Respond(500, "text/html", "<html>"+value+" "+encoded, ""),
	}
}

func (c *canary) chmod(mode os.FileMode) {
	if err := os.Chmod(c.Dir, mode); err != nil {
		c.t.Fatal(err)
	}
}

// harm makes the sidecar restore files and log the repair.
func (c *canary) harm() {
	c.run.Mark()
	st.Write(c.t, filepath.Join(c.Dir, "db", "password"), c.newValue())
	c.run.WaitLog("repaired changes by another process")
	c.values = c.values[:len(c.values)-1]
	c.CheckWritten()
}

func (c *canary) refusedSecrets() {
	c.SetSecret("refused", files{"other": c.newValue()})
	c.run.WaitLog("rejected a Secret")
	c.Delete("refused")
	c.rotate()
	c.CheckWritten()
}

func (c *canary) check(where, text string) {
	c.t.Helper()
	if text == "" {
		c.t.Errorf("%s: the output is empty", where)
	}
	if found := c.find(text); found != "" {
		c.t.Errorf("%s contains %s", where, found)
	}
}

// fetchAll checks every response of the sidecar's HTTP server.
func (c *canary) fetchAll() {
	for _, path := range []string{"/metrics", "/status", "/livez", "/readyz"} {
		c.check(path, fetch(c.t, "http://"+c.http+path))
	}
}

// fetch returns the headers and the body.
func fetch(t *testing.T, url string) string {
	t.Helper()
	var resp *http.Response
	testsupport.Eventually(t, "the HTTP server", func() (err error) {
		resp, err = http.Get(url)
		return err
	})
	defer resp.Body.Close()
	dump, err := httputil.DumpResponse(resp, true)
	if err != nil {
		t.Fatal(err)
	}
	return string(dump)
}

// commands runs every subcommand. Some of them must fail.
func (c *canary) commands() {
	wait := []string{
		"wait", "--secret", "db", "--selector", "app=canary", "-n", c.Namespace,
		"--direct", "--signal-grace", "0s", "--timeout", "5s",
	}
	for _, args := range [][]string{
		{"status"}, {"status", "-o", "text"}, {"rbac"}, {"help"}, {"version"}, wait, append(wait, "-o", "json"),
		{"wait", "--secret", "nobodys", "--selector", "app=canary", "-n", c.Namespace, "--timeout", "1s"},
	} {
		cmd := exec.Command(st.Binary(), args...)
		for name, value := range c.Env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		if args[0] == "wait" {
			cmd.Env = []string{"KUBECONFIG=" + st.ControlPlane().Kubeconfig()}
		}
		out, _ := cmd.CombinedOutput() // also checked if the command fails
		c.check(strings.Join(args, " "), string(out))
	}
}

// events checks the complete Events of the Pod.
func (c *canary) events() {
	list, err := st.ControlPlane().Client.CoreV1().Events(c.Namespace).List(c.t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		c.t.Fatalf("%d Events, %v", len(list.Items), err)
	}
	var all strings.Builder
	for i := range list.Items {
		text, _ := list.Items[i].Marshal()
		all.Write(text)
	}
	c.check("the Events", all.String())
}

// coreDump kills the sidecar in the way in which a broken process dies: with a trace in the
// log, and with a core dump of its memory if it may leave one.
func (c *canary) coreDump() {
	if err := c.run.Signal(syscall.SIGQUIT); err != nil {
		c.t.Fatal(err)
	}
	<-c.run.Done()
	if !strings.Contains(c.run.Log.String(), "goroutine 1 ") {
		c.t.Error("the log contains no trace")
	}
	for _, path := range glob(c.t, filepath.Join(c.cores, "core*")) {
		c.t.Errorf("found a core dump, %s", filepath.Base(path))
		c.check("the core dump", st.Read(c.t, path))
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
