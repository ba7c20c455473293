package longlife

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A longLife is a sidecar without restarts. It notifies an app with a signal and a
// webhook.
type longLife struct {
	*st.Scene
	run     *st.Run
	hook    *st.Webhook
	pidFile string
	app     *childprocess.Process
	http    string
}

func newLongLife(t *testing.T, s *st.Scene) *longLife {
	scene := *s
	scene.Dir, scene.Env = testsupport.MemoryDir(t), maps.Clone(s.Env)
	l := &longLife{Scene: &scene, hook: st.NewWebhook(t), pidFile: filepath.Join(t.TempDir(), "pid"),
		http: childprocess.FreeAddr(t)}
	maps.Copy(scene.Env, st.Env{
		"SECRETSYNC_DIR": scene.Dir, "SECRETSYNC_HTTP_ADDR": l.http,
		"SECRETSYNC_WEBHOOK_URL": l.hook.URL, "SECRETSYNC_PID_FILE": l.pidFile, "SECRETSYNC_PROCESS_MIN_AGE": "1s",
		"SECRETSYNC_LOG_LEVEL": "info",
	})
	l.restartApp()
	t.Cleanup(func() { l.app.Kill() })
	l.run = scene.Start(nil)
	return l
}

// restartApp replaces the process of the app.
func (l *longLife) restartApp() {
	if l.app != nil {
		l.app.Kill()
	}
	cmd := exec.Command("/bin/sh", "-c", "trap : HUP; while :; do sleep 1; done")
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	app, err := childprocess.Start(cmd)
	if err == nil {
		err = os.WriteFile(l.pidFile, []byte(strconv.Itoa(app.PID())), 0o644)
	}
	if err != nil {
		l.T.Fatal(err)
	}
	l.app = app
}

// renew writes a new token to the service account's token file, like the kubelet.
func (k *soak) renew() {
	k.endFault() // the API server must answer
	path, err := st.ControlPlane().TokenKubeconfig(k.t.Context(), k.Namespace, st.Account)
	if err != nil {
		k.t.Fatal(err)
	}
	if path != k.Kubeconfig {
		k.t.Fatalf("the token is beside %s, not beside %s", path, k.Kubeconfig)
	}
}

// harmed is the text written into a file by harm.
const harmed = "harm"

// harm changes or adds something in the volumes. Only the sidecar may change them.
func (k *soak) harm() {
	name := soakSecrets[k.rand.IntN(len(soakSecrets))]
	kinds := []struct {
		name string
		do   func(dir string) error
	}{
		{"harm: an app's link", func(dir string) error { return os.Remove(filepath.Join(dir, name, "a")) }},
		{"harm: a Secret's directory", func(dir string) error { return os.RemoveAll(filepath.Join(dir, name)) }},
		{"harm: a file", func(dir string) error { return overwrite(filepath.Join(dir, "..data", name, "a")) }},
		{"harm: the record of notifications", func(dir string) error {
			return overwrite(filepath.Join(dir, "..notified.json"))
		}},
		{"harm: a temporary name", func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "..data_tmp", "x"), 0o755)
		}},
	}
	kind := kinds[k.rand.IntN(len(kinds))]
	k.note(kind.name)
	for _, dir := range []string{k.Dir, k.old.Dir} {
		_ = kind.do(dir) // the sidecar may use the same name at this moment
	}
}

// overwrite replaces a file atomically, so a reader sees either content.
func overwrite(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(real), harmed)
	return errors.Join(os.WriteFile(tmp, []byte(harmed), 0o644), os.Rename(tmp, real))
}

// figures are resource counts. They must not grow over a long life.
type figures struct {
	RSS, Anonymous, Heap             int64 // KiB
	Descriptors, Goroutines, Inotify int
	Volume                           []string // the sidecar's own entries in the volume
}

// slack allows for normal variation: an idle connection (two goroutines and a descriptor)
// and the allocator.
var slack = figures{Anonymous: 4 << 10, Heap: 1 << 10, Descriptors: 4, Goroutines: 8}

// compare returns an error with the growth since early.
func (f figures) compare(early figures) (err error) {
	check := func(what string, now, was, slack int64) {
		if now > was+slack {
			err = errors.Join(err, fmt.Errorf("%s: %d at the end, %d early", what, now, was))
		}
	}
	check("KiB of anonymous memory", f.Anonymous, early.Anonymous, max(slack.Anonymous, early.Anonymous/4))
	check("KiB in Go's heap", f.Heap, early.Heap, slack.Heap)
	check("descriptors", int64(f.Descriptors), int64(early.Descriptors), int64(slack.Descriptors))
	check("goroutines", int64(f.Goroutines), int64(early.Goroutines), int64(slack.Goroutines))
	check("inotify watches", int64(f.Inotify), int64(early.Inotify), 0)
	if len(f.Volume) != len(early.Volume) {
		err = errors.Join(err, fmt.Errorf("the volume contains %q, early it contained %q", f.Volume, early.Volume))
	}
	return err
}

// measure ends the faults, waits until the files are correct and the sidecar is idle, and
// returns the figures of the sidecar without restarts.
func (k *soak) measure() (f figures) {
	k.endFault()
	k.setAll()
	began := time.Now()
	testsupport.EventuallyWithin(k.t, patience, "the data of the API server", k.equal)
	k.t.Logf("correct %v after the last fault", time.Since(began).Round(time.Millisecond))
	testsupport.EventuallyWithin(k.t, time.Minute, "an idle sidecar", func() (err error) {
		f, err = k.old.figures()
		return err
	})
	return f
}

// figures returns an error while the volume contains old generations or leftovers.
func (l *longLife) figures() (f figures, err error) {
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return f, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			f.Volume = append(f.Volume, e.Name())
		}
	}
	if len(f.Volume) != 5 { // ..data, ..lock, ..notified.json, a generation and its record
		return f, fmt.Errorf("the volume contains %q", f.Volume)
	}
	if f.Heap, err = l.heap(); err != nil {
		return f, err
	}
	if f.Goroutines, err = l.goroutines(); err != nil {
		return f, err
	}
	if f.RSS, f.Anonymous, err = memory(l.run.PID()); err != nil {
		return f, err
	}
	f.Descriptors, f.Inotify, err = descriptors(l.run.PID())
	return f, err
}

// heap returns the KiB in use after a garbage collection of the idle sidecar. The last collection may have been in the
// middle of a publish, so heap sends requests until they cause another collection.
func (l *longLife) heap() (kib int64, err error) {
	const metric = "go_gc_heap_live_bytes"
	last, err := l.metric(metric)
	bytes := last
	for err == nil && bytes == last {
		bytes, err = l.metric(metric)
	}
	return int64(bytes) >> 10, err
}

func (l *longLife) goroutines() (n int, err error) {
	value, err := l.metric("go_goroutines")
	return int(value), err
}

// metric returns the value of a metric without labels.
func (l *longLife) metric(name string) (value float64, err error) {
	resp, err := http.Get("http://" + l.http + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(body), "\n"+name+" ")
	if _, err := fmt.Sscan(rest, &value); err != nil {
		return 0, fmt.Errorf("metric %s: %w", name, err)
	}
	return value, nil
}

// memory returns the memory of a process in KiB, from /proc.
func memory(pid int) (rss, anonymous int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "VmRSS: %d", &rss)
		_, _ = fmt.Sscanf(lines.Text(), "RssAnon: %d", &anonymous)
	}
	return rss, anonymous, nil
}

// descriptors counts the open descriptors and the inotify watches of a process. The sidecar
// is undumpable, so only root can count them.
func descriptors(pid int) (open, watches int, err error) {
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil || len(infos) == 0 {
		return 0, 0, errors.Join(err, errors.New("read no descriptors: this test requires root"))
	}
	for _, path := range infos {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // closed in the meantime
		}
		open++
		watches += strings.Count(string(text), "inotify wd:")
	}
	return open, watches, nil
}

// TestFigures_compareDetectsGrowth increases each figure: compare must report it.
func TestFigures_compareDetectsGrowth(t *testing.T) {
	early := figures{
		Anonymous: 5000, Heap: 2000, Descriptors: 20, Goroutines: 40, Inotify: 16,
		Volume: slices.Repeat([]string{"x"}, 4),
	}
	for name, more := range map[string]func(*figures){
		"memory": func(f *figures) { f.Anonymous = 10_000 }, "heap": func(f *figures) { f.Heap = 4000 },
		"descriptors": func(f *figures) { f.Descriptors = 25 }, "goroutines": func(f *figures) { f.Goroutines = 49 },
		"inotify": func(f *figures) { f.Inotify = 17 }, "volume": func(f *figures) { f.Volume = append(f.Volume, "y") },
	} {
		late := early
		if err := late.compare(early); err != nil {
			t.Fatal(err)
		}
		more(&late)
		if late.compare(early) == nil {
			t.Errorf("compare does not report the growth of %s", name)
		}
	}
}
