package rollout

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A script is an API server that changes at exact requests of `wait`. It also answers for the
// sidecars, which do not know any version before their own.
type script struct {
	t            testing.TB
	mu           sync.Mutex
	version      int    // of the Secret
	data         string // of the Secret
	known        int    // the version of the sidecars
	pods, silent []string
	lists, reads int
	onList       func(n int)     // called before list n of the Pods
	onRead       func(n int) int // called before reading n of the Secret; returns the status code of the answer
}

func newScript(t testing.TB) *script {
	return &script{
		t: t, version: 7, known: 7, data: "MQ==", pods: []string{"app"},
		onList: func(int) {}, onRead: func(int) int { return http.StatusOK },
	}
}

// wait starts `secret-sync wait` with this API server.
func (s *script) wait(args ...string) *waiting {
	s.t.Helper()
	server := httptest.NewServer(s)
	s.t.Cleanup(server.CloseClientConnections)
	kubeconfig := filepath.Join(s.t.TempDir(), "config")
	st.Write(s.t, kubeconfig, fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a,"+
		" cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a, namespace: shop}}]\ncurrent-context: a\n", server.URL))
	return startWait(s.t, &st.Scene{Namespace: "shop"}, kubeconfig, args...)
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") != "" {
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, code := any(nil), http.StatusOK
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/secrets/db"):
		s.consistent(r)
		s.reads++
		code, answer = s.onRead(s.reads), s.secret()
	case strings.HasSuffix(path, "/proxy/status"):
		name, _, _ := strings.Cut(strings.Split(path, "/pods/")[1], ":")
		if answer = s.status(name); slices.Contains(s.silent, name) {
			code = http.StatusServiceUnavailable
		}
	default:
		s.consistent(r)
		s.lists++
		s.onList(s.lists)
		answer = s.podList()
	}
	if code != http.StatusOK {
		answer = fields{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
			"reason": strings.ReplaceAll(http.StatusText(code), " ", ""), "message": "scripted"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

// consistent checks whether a request requires the newest state: the API server may answer a request
// for a version from an old cache.
func (s *script) consistent(r *http.Request) {
	if r.URL.Query().Has("resourceVersion") {
		s.t.Errorf("GET %s is not a consistent read", r.URL)
	}
}

func (s *script) secret() any {
	return fields{"apiVersion": "v1", "kind": "Secret", "data": fields{"password": s.data},
		"metadata": fields{"uid": "s", "resourceVersion": fmt.Sprint(s.version)}}
}

func (s *script) status(pod string) any {
	return fields{
		"format": 2, "namespace": "shop", "pod": pod, "podUID": "uid of " + pod, "instance": pod, "volume": pod,
		"generation": 1, "complete": true,
		"secrets": fields{"db": fields{"present": true, "uid": "s", "resourceVersion": fmt.Sprint(s.known),
			"dataSince": fmt.Sprint(s.known), "previousData": fields{"since": "",
				"until": ""}, "generation": 1, "refused": ""}},
		"targets": []any{fields{"name": "webhook", "notified": 1, "pending": false, "successes": 0, "failures": 0,
			"error": ""}},
		"watches": []any{fields{"name": "secret/db", "up": true}},
	}
}

func (s *script) podList() any {
	items := []fields{}
	for _, name := range s.pods {
		items = append(items, fields{
			"metadata": fields{"name": name, "uid": "uid of " + name},
			"spec": fields{"nodeName": "n", "containers": []fields{{"name": "app"}},
				"initContainers": []fields{{"name": "secret-sync", "restartPolicy": "Always"}}},
			"status": fields{"phase": "Running"},
		})
	}
	return fields{"apiVersion": "v1", "kind": "PodList", "metadata": fields{"resourceVersion": "9"}, "items": items}
}

// TestWaitConfirm_newPod: a Pod appears after every other Pod was done, and the watch of the Pods
// has not delivered it. The last list contains it.
func TestWaitConfirm_newPod(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.silent = []string{"late"}
	s.onList = func(n int) {
		if n == 2 {
			s.pods = append(s.pods, "late")
		}
	}
	s.wait("--timeout", "2s").exits(1, "Pod late: its sidecar does not answer")
}

// TestWaitConfirm_changedData: the data changes at the last list. The reading after it finds the
// change.
func TestWaitConfirm_changedData(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.onList = func(n int) {
		if n == 2 {
			s.version, s.data = 8, "Mg=="
		}
	}
	s.wait("--timeout", "5s").exits(1, "its data changed after version 7")
}

// TestWaitConfirm_changedMetadata: without a proof of the sidecar, a later version may have other
// data in between.
func TestWaitConfirm_changedMetadata(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.onList = func(n int) {
		if n == 2 {
			s.version = 8
		}
	}
	s.wait("--timeout", "2s").exits(1, "no sidecar knows whether the data changed from version 7 to 8")
}

// TestWaitConfirm_restored: the version of the Secret goes back at the last list.
func TestWaitConfirm_restored(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.onList = func(n int) {
		if n == 2 {
			s.version = 6
		}
	}
	s.wait("--timeout", "5s").exits(1, "it went back from version 7 to 6")
}

// TestWaitScript_changedFrom: a change of metadata comes before the change of the data, and no sidecar
// knows either. The readings alone show that the data differs from that version.
func TestWaitScript_changedFrom(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.onRead = func(n int) int {
		switch n {
		case 2:
			s.version = 8
		case 3:
			s.version, s.known, s.data = 9, 9, "Mg=="
		}
		return http.StatusOK
	}
	s.wait("--timeout", "10s", "--changed-from", "7").exits(0, "all 1 Pods are on version 9")
}

// TestWaitOutage_denied: while its RBAC loads, an API server denies every request. The denials of a
// few moments do not end the wait.
func TestWaitOutage_denied(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	codes := []int{http.StatusForbidden, http.StatusUnauthorized, http.StatusServiceUnavailable,
		http.StatusTooManyRequests, http.StatusInternalServerError}
	s.onRead = func(n int) int {
		if n <= len(codes) {
			return codes[n-1]
		}
		return http.StatusOK
	}
	s.wait("--timeout", "30s").exits(0, "all 1 Pods")
}

// TestWaitOutage_final: an answer that cannot change ends the wait long before its timeout.
func TestWaitOutage_final(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.onRead = func(int) int { return http.StatusNotFound }
	began := time.Now()
	s.wait("--timeout", "45s").exits(1, "scripted")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the wait ended after %v", took)
	}
}
