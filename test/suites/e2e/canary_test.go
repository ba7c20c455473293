package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
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
	addr, hook := childprocess.FreeAddr(t), st.NewWebhook(t)
	hook.Status.Store(http.StatusInternalServerError) // failures are logged as well
	s := st.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "refused",
		"SECRETSYNC_REQUIRED_KEYS": "refused/must",
		"SECRETSYNC_HTTP_ADDR":     addr, "SECRETSYNC_WEBHOOK_URL": hook.URL, "SECRETSYNC_EVENTS": "true",
		"POD_NAME": "pod", "POD_UID": "00000000-0000-0000-0000-000000000001",
	})
	s.SetSecret("db", files{"password": canaries[0]})
	r := s.Start(nil)
	s.WaitFiles(files{"db/password": canaries[0]})
	s.SetSecret("db", files{"password": canaries[1]})
	s.WaitFiles(files{"db/password": canaries[1]})
	s.SetSecret("refused", files{"other": canaries[2]})
	r.WaitLog("refused")
	testsupport.Eventually(t, "a webhook call", func() error { return atLeast(len(hook.Bodies()), 1) })
	var events string
	testsupport.Eventually(t, "an Event", func() error {
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
		for _, value := range canaries {
			for _, form := range leaks(text, value) {
				t.Errorf("%s contains a Secret value as %q", output, form)
			}
		}
	}
}

// leaks returns the forms of value in text: value itself, base64, hexadecimal and a Go byte slice. The value must be
// so long that no form occurs by chance.
func leaks(text, value string) (found []string) {
	encoded := base64.RawStdEncoding.EncodeToString([]byte(value))
	encoded = encoded[:len(value)/3*4] // the last characters depend on the bytes after the value
	hexadecimal := hex.EncodeToString([]byte(value))
	slice := strings.Trim(fmt.Sprint([]byte(value)), "[]")
	for _, form := range []string{value, encoded, hexadecimal, strings.ToUpper(hexadecimal), slice} {
		if strings.Contains(text, form) {
			found = append(found, form)
		}
	}
	return found
}

// TestLeaks_everyForm prints a value in every form. The search must find each form.
func TestLeaks_everyForm(t *testing.T) {
	const value = "hunter2-canary"
	for _, text := range []string{
		"value=" + value,
		base64.StdEncoding.EncodeToString([]byte(value)),
		base64.StdEncoding.EncodeToString([]byte(value + " and more")),
		fmt.Sprintf("%x", value),
		fmt.Sprintf("%X", value),
		fmt.Sprint([]byte(value + "!")),
	} {
		if len(leaks(text, value)) == 0 {
			t.Errorf("no leak found in %q", text)
		}
	}
	if got := leaks("hunter2", value); got != nil {
		t.Errorf("got %q in a text without the value", got)
	}
}
