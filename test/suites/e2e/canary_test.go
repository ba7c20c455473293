package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// get requests url, checks the status code, and stores the response in body.
func get(url string, want int, body *string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, b)
	}
	if body != nil {
		*body = string(b)
	}
	return nil
}

// TestCanary_allOutputs: a value occurs in the file and in no output, at debug level, in
// success and failure.
func TestCanary_allOutputs(t *testing.T) {
	t.Parallel()
	canaries := []string{"canary-one-74316", "canary-two-90285", "canary-three-11860"}
	addr, hook := st.FreeAddr(t), st.NewWebhook(t)
	hook.Status.Store(http.StatusInternalServerError) // failures are logged as well
	s := st.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "refused", "SECRETSYNC_REQUIRED_KEYS": "refused/must",
		"SECRETSYNC_HTTP_ADDR": addr, "SECRETSYNC_WEBHOOK_URL": hook.URL, "SECRETSYNC_EVENTS": "true",
		"POD_NAME": "pod", "POD_UID": "00000000-0000-0000-0000-000000000001",
	})
	s.Put("db", files{"password": canaries[0]})
	r := s.Start(nil)
	s.WaitFiles(files{"db/password": canaries[0]})
	s.Put("db", files{"password": canaries[1]})
	s.WaitFiles(files{"db/password": canaries[1]})
	s.Put("refused", files{"other": canaries[2]})
	r.WaitLog("refused")
	st.Until(t, "a webhook call", func() error { return atLeast(len(hook.Bodies()), 1) })
	var events string
	st.Until(t, "an Event", func() error {
		list, err := st.ControlPlane().Client.CoreV1().Events(s.Namespace).List(t.Context(), metav1.ListOptions{})
		if err == nil {
			events = fmt.Sprintf("%+v", list.Items)
			err = atLeast(len(list.Items), 1)
		}
		return err
	})
	var metrics, status string
	err := errors.Join(
		get("http://"+addr+"/metrics", http.StatusOK, &metrics), get("http://"+addr+"/status", http.StatusOK, &status))
	if err != nil {
		t.Fatal(err)
	}
	command := string(s.Print("status")) + string(s.Print("status", "-o", "text"))
	r.Stop()
	command += string(s.Print("status")) // from the volume
	for output, text := range map[string]string{
		"log": r.Log.String(), "metrics": metrics, "/status": status, "status": command,
		"webhook": strings.Join(hook.Bodies(), "\n"), "events": events,
	} {
		testsupport.WantNoLeak(t, output, text, canaries...)
	}
}
