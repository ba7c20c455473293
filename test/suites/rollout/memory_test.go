package rollout

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const (
	manyPods = 5000
	podSize  = 10 << 10
)

// TestWait_memory: a wait for 5,000 Pods of 10 KB needs at most 40 MiB. The API server and
// the sidecars are generated answers.
func TestWait_memory(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(generate))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "config")
	st.Write(t, kubeconfig, fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a, namespace: shop}}]\ncurrent-context: a\n", server.URL))
	cmd := exec.Command(st.Binary(), "wait", "--secret", "db", "--timeout", "3m")
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig}
	var out testsupport.Log
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for peak := 0; ; {
		select {
		case err := <-ended:
			if err != nil || !strings.Contains(out.String(), fmt.Sprintf("all %d Pods", manyPods)) {
				t.Fatalf("%v:\n%.2000s", err, out.String())
			}
			if t.Logf("the peak of the memory was %d KiB", peak); peak == 0 || peak > 40<<10 {
				t.Errorf("the peak of the memory was %d KiB, want at most 40 MiB", peak)
			}
			return
		case <-time.After(20 * time.Millisecond):
			peak = max(peak, peakMemory(cmd.Process.Pid))
		}
	}
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory returns the peak of the resident memory of a process in KiB, 0 if it has ended.
func peakMemory(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if match := peakLine.FindSubmatch(status); match != nil {
		peak, _ := strconv.Atoi(string(match[1]))
		return peak
	}
	return 0
}

// generate answers as an API server with many Pods, all of which are done.
func generate(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch query := r.URL.Query(); {
	case strings.HasSuffix(r.URL.Path, "/secrets/db"):
		fmt.Fprint(w,
			`{"apiVersion":"v1","kind":"Secret","metadata":{"uid":"s","resourceVersion":"7"},`+
				`"data":{"password":"MQ=="}}`)
	case strings.HasSuffix(r.URL.Path, "/proxy/status"):
		name, _, _ := strings.Cut(strings.Split(r.URL.Path, "/pods/")[1], ":")
		fmt.Fprintf(w, `{"format":2,"namespace":"shop","pod":%[1]q,"podUID":"uid-of-%[1]s","instance":%[1]q,`+
			`"volume":"v","generation":1,"complete":true,`+
			`"secrets":{"db":{"present":true,"uid":"s","resourceVersion":"7","dataSince":"7",`+
			`"previousData":{"since":"","until":""},"generation":1,"refused":""}},`+
			`"targets":[{"name":"webhook","notified":1,"pending":false,"successes":0,"failures":0,"error":""}],`+
			`"watches":[{"name":"secret/db","up":true}]}`, name)
	case query.Get("watch") != "":
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		from, _ := strconv.Atoi(query.Get("continue"))
		limit, _ := strconv.Atoi(query.Get("limit"))
		generatePods(w, from, min(from+limit, manyPods))
	}
}

func generatePods(w io.Writer, from, to int) {
	next := ""
	if to < manyPods {
		next = strconv.Itoa(to)
	}
	fmt.Fprintf(w, `{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"9","continue":%q},"items":[`,
		next)
	for i := from; i < to; i++ {
		if i > from {
			fmt.Fprint(w, ",")
		}
		name := fmt.Sprintf("app-7d4b9c6f5-%05d", i)
		fmt.Fprintf(w, `{"metadata":{"name":%[1]q,"uid":"uid-of-%[1]s","annotations":{"last-applied":%[2]q}},`+
			`"spec":{"nodeName":"n","initContainers":[{"name":"secret-sync","restartPolicy":"Always"}],`+
			`"containers":[{"name":"app","env":[{"name":"A","value":"b"}]}]},"status":{"phase":"Running",`+
			`"podIP":"192.0.2.1",`+
			`"initContainerStatuses":[{"name":"secret-sync","state":{"running":{}}}],`+
			`"containerStatuses":[{"name":"app","state":{"running":{}}}]}}`, name, strings.Repeat("x", podSize-500))
	}
	fmt.Fprint(w, "]}")
}
