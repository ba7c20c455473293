//go:build kubelet

package kubelet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/test/harness/nodetest"
)

// oldFolder is the app's directory before the migration. The kubelet's Secret
// volume writes it. In the first case this is the old solution; in the other cases it
// represents the old solution.
const oldFolder = "/etc/db"

// A move is a section of docs/migrating.md.
type move struct {
	name   string
	folder string             // the app's directory afterwards
	items  []corev1.KeyToPath // the names in the old directory
	rule   string             // the rule of the Role; "" allows the Secret by name
	env    map[string]string  // the environment of the sidecar
	by     string             // the way in which the app is notified
}

var moves = []move{
	{name: "secret-volume", folder: "/secrets/db", by: "signal", env: map[string]string{"SECRETSYNC_PROCESS": "app"}},
	{name: "secret-volume-same-path", folder: "/secrets", by: "signal",
		env: map[string]string{"SECRETSYNC_PROCESS": "app", "SECRETSYNC_LAYOUT": "flat"}},
	{
		name:   "label-sidecar",
		folder: "/secrets",
		by:     "webhook",
		rule:   `{apiGroups: [""], resources: [secrets], verbs: [list, watch]}`,
		env: map[string]string{
			"SECRETSYNC_SECRETS": "", "SECRETSYNC_SELECTOR": "app=shop", "SECRETSYNC_LAYOUT": "flat",
			"SECRETSYNC_WEBHOOK_URL": "http://APP/reload",
		},
	},
	{name: "vault-agent", folder: "/secrets/db", by: "webhook",
		env: map[string]string{
			"SECRETSYNC_ITEMS":       "db/password=password:0600,db/username=username",
			"SECRETSYNC_WEBHOOK_URL": "http://APP/reload",
		}},
	{name: "spiffe-helper", folder: "/secrets/db", by: "signal",
		items: []corev1.KeyToPath{{Key: "username", Path: "svid.pem"}, {Key: "password", Path: "password"}},
		env: map[string]string{
			"SECRETSYNC_ITEMS":   "db/username=svid.pem,db/password=password:0600",
			"SECRETSYNC_PROCESS": "app",
		}},
}

// TestMigrate_everyStep performs each section in order: only the old solution, both, the app
// on the new files, only the sidecar. A rotation follows each step. The app always starts
// with the current content of the Secret, and from the third step on it is notified.
func TestMigrate_everyStep(t *testing.T) {
	for _, m := range moves {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.move(m)
		})
	}
}

func (s *scene) move(m move) {
	s.putLabelled(0)
	s.step(m, "the old way alone", 0, m.oldAlone)
	s.putLabelled(1)
	s.step(m, "both", 1, func(p *corev1.PodTemplateSpec) { m.both(s, p) })
	s.same(m, 1)
	s.putLabelled(2)
	s.step(m, "the app on the new files", 2, func(p *corev1.PodTemplateSpec) { m.both(s, p); m.read(p) })
	s.rotatesAs(m, 3)
	s.step(m, "the sidecar alone", 3, func(p *corev1.PodTemplateSpec) { m.sidecar(s, p); m.read(p) })
	s.rotatesAs(m, 4)
}

// putLabelled is putPassword with the label of the selector.
func (s *scene) putLabelled(n int) {
	s.Helper()
	s.SetLabeledSecret("db", map[string]string{"app": "shop"},
		map[string]string{"username": "app", "password": fmt.Sprint(n)})
}

// step applies a step and checks the files at the start of the app.
func (s *scene) step(m move, name string, n int, change func(*corev1.PodTemplateSpec)) {
	s.Helper()
	began := time.Now()
	rules := role
	if m.rule != "" {
		rules = strings.Replace(
			rules,
			`{apiGroups: [""], resources: [secrets], resourceNames: [db], verbs: [list, watch]}`,
			m.rule,
			1,
		)
	}
	s.Apply([]byte(strings.ReplaceAll(rules, "NAMESPACE", s.Namespace)), nil)
	s.Apply([]byte(deployment), func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{"step": name}
		change(p)
	})
	nodetest.Until(s.T, name, func() error {
		pod, err := s.Pod()
		if err != nil || pod.Annotations["step"] != name {
			return fmt.Errorf("the Pod of this step is not running (%v)", err)
		}
		a, err := nodetest.Ask(s.Addresses["app"])
		if err == nil && a.Start["password"] != fmt.Sprint(n) {
			s.Errorf("%s: started with the password %q, want %d", name, a.Start["password"], n)
		}
		return err
	})
	s.Logf("%s: %s", name, time.Since(began).Round(100*time.Millisecond))
}

// rotatesAs changes the Secret and waits until the running app has loaded it.
func (s *scene) rotatesAs(m move, n int) {
	s.Helper()
	before, err := nodetest.Ask(s.Addresses["app"])
	if err != nil {
		s.Fatal(err)
	}
	wait(6 * time.Second) // a process younger than 5 s is not signaled
	began := time.Now()
	s.putLabelled(n)
	a := s.Loaded("app", fmt.Sprint(n))
	if a.By != m.by || a.PID != before.PID {
		s.Errorf("loaded by %s as process %d, want by %s as %d", a.By, a.PID, m.by, before.PID)
	}
	s.Logf("rotated in %s by %s", time.Since(began).Round(time.Millisecond), a.By)
}

// same compares the files of both solutions. The kubelet needs time to apply a change.
func (s *scene) same(m move, n int) {
	s.Helper()
	nodetest.Until(s.T, "the same files in both directories", func() error {
		a, err := nodetest.Ask(s.Addresses["app"])
		if err != nil {
			return err
		}
		for _, name := range m.names() {
			if before, after := a.Now[oldFolder+"/"+name], a.Now[m.folder+"/"+name]; before == "" || before != after {
				return fmt.Errorf("%s: got %q and %q", name, before, after)
			}
		}
		return nil
	})
}

func (m move) names() []string {
	if m.items != nil {
		return []string{m.items[0].Path, m.items[1].Path}
	}
	return []string{"username", "password"}
}

// oldAlone configures the original Pod: no sidecar, and the app reads the old directory.
func (m move) oldAlone(p *corev1.PodTemplateSpec) {
	p.Spec.InitContainers = nil
	p.Spec.Containers[0].VolumeMounts = nil
	p.Spec.Volumes = nil
	m.old(p)
}

// both adds the sidecar. The app still reads the old directory.
func (m move) both(s *scene, p *corev1.PodTemplateSpec) {
	m.sidecar(s, p)
	m.old(p)
	var files []string
	for _, name := range m.names() {
		files = append(files, oldFolder+"/"+name, m.folder+"/"+name)
	}
	nodetest.Set(&p.Spec.Containers[0], "READER_FILES", strings.Join(files, ","))
}

func (m move) old(p *corev1.PodTemplateSpec) {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "old", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: "db", Items: m.items},
	}})
	app := &p.Spec.Containers[0]
	app.VolumeMounts = append(app.VolumeMounts, corev1.VolumeMount{Name: "old", MountPath: oldFolder, ReadOnly: true})
	nodetest.Set(app, "READER_DIR", oldFolder)
	nodetest.Set(app, "READER_FOLLOW", "")
}

func (m move) sidecar(s *scene, p *corev1.PodTemplateSpec) {
	for _, name := range slices.Sorted(maps.Keys(m.env)) {
		nodetest.Set(&p.Spec.InitContainers[0], name, strings.Replace(m.env[name], "APP", s.Addresses["app"], 1))
	}
	shared := m.by == "signal"
	p.Spec.ShareProcessNamespace = &shared
}

func (m move) read(p *corev1.PodTemplateSpec) {
	nodetest.Set(&p.Spec.Containers[0], "READER_DIR", m.folder)
	nodetest.Set(&p.Spec.Containers[0], "READER_FOLLOW", m.folder)
}
