package e2e

import (
	"fmt"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A life is a sidecar in a sequence of phases.
type life struct {
	*st.Scene
	run     *st.Run
	webhook *st.Webhook
	want    [][]string // all expected notifications so far
}

// A phase is an event and its expected effects. Each phase compares all notifications so
// far, so it also detects additional notifications.
type phase struct {
	name   string
	act    func(*life)
	files  files
	notify []string // the paths of the expected notification, as "~db/password"; nil: none
	log    string   // text in the log since the phase began
	ready  bool     // the result of `secret-sync ready`
	same   bool     // no new generation and no notification, also after a pause
}

type files = map[string]string

func (l *life) walk(t *testing.T, phases []phase) {
	for _, p := range phases {
		ok := t.Run(p.name, func(t *testing.T) {
			l.T = t // a failure ends this subtest
			l.step(t, p)
		})
		if !ok {
			return // later phases depend on this phase
		}
	}
}

func (l *life) step(t *testing.T, p phase) {
	before := l.Generation()
	if l.run != nil {
		l.run.Mark()
	}
	p.act(l)
	l.WaitFiles(p.files)
	if p.log != "" {
		l.run.WaitLog(p.log)
	}
	if p.notify != nil {
		l.want = append(l.want, p.notify)
		testsupport.Eventually(t, "notification", func() error { return l.notified(len(l.want)) })
	}
	if err := l.notified(len(l.want)); err != nil {
		t.Error(err)
	}
	if p.ready {
		testsupport.Eventually(t, "ready", l.Ready)
	} else if l.Ready() == nil {
		t.Error("ready before the generation is complete")
	}
	if p.same {
		st.Throughout(t, quiet, "a change without a reason", func() error { return l.unchanged(before) })
	}
}

// quiet is the time to wait for unexpected changes. Expected changes take milliseconds.
const quiet = 200 * time.Millisecond

func (l *life) unchanged(generation string) error {
	if got := l.Generation(); got != generation {
		return fmt.Errorf("generation %s, want the previous generation %s", got, generation)
	}
	return l.notified(len(l.want))
}

// notified compares all notifications with the expected notifications.
func (l *life) notified(n int) error {
	var got [][]string
	for _, a := range l.webhook.Accepted() {
		got = append(got, a.Paths())
	}
	if len(got) != n || !slices.EqualFunc(got, l.want, slices.Equal) {
		return fmt.Errorf("notifications %q, want %q", got, l.want)
	}
	return nil
}

// start starts the sidecar for the whole life, not only for a phase.
func (l *life) start(t *testing.T) func(*life) {
	return func(l *life) {
		phase := l.T
		l.T = t
		l.run = l.Start(nil)
		l.T = phase
	}
}

func newLife(t *testing.T, env st.Env) *life {
	l := &life{webhook: st.NewWebhook(t)}
	env["SECRETSYNC_WEBHOOK_URL"] = l.webhook.URL
	l.Scene = st.New(t, env)
	return l
}

func put(name string, data files, labels ...string) func(*life) {
	return func(l *life) { l.SetSecret(name, data, labels...) }
}

func remove(name string) func(*life) { return func(l *life) { l.Delete(name) } }

// TestLife_bothLayouts passes through every kind of change, in both layouts.
func TestLife_bothLayouts(t *testing.T) {
	for _, layout := range []string{"nested", "flat"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			l := newLife(t, st.Env{
				"SECRETSYNC_SECRETS":          "db",
				"SECRETSYNC_OPTIONAL_SECRETS": "extra",
				"SECRETSYNC_SELECTOR":         "app=web",
				"SECRETSYNC_LAYOUT":           layout,
			})
			l.walk(t, lifePhases(t, l, layout == "flat"))
		})
	}
}

func lifePhases(t *testing.T, l *life, flat bool) []phase {
	// at returns a path as the layout writes it and as notifications contain it.
	at := func(p string) string {
		if flat {
			return path.Base(p)
		}
		return p
	}
	in := func(f files) files {
		all := files{}
		for p, content := range f {
			all[at(p)] = content
		}
		return all
	}
	first := in(files{"db/user": "a", "db/password": "1"})
	whole := in(files{"db/user": "a", "db/password": "1", "web/crt": "c"})
	second := in(files{"db/user": "b", "db/password": "2", "web/crt": "c"})
	most := in(files{"db/user": "b", "db/password": "2", "extra/key": "x", "web/crt": "c"})
	again := in(files{"db/user": "c", "db/password": "3", "extra/key": "x", "web/crt": "c"})
	down := in(files{"db/user": "d", "db/password": "4", "extra/key": "x", "web/crt": "c"})
	return []phase{
		{name: "boot without the Secret", act: l.start(t), files: files{}, log: "nothing is published yet"},
		{
			name:  "first generation notifies nobody",
			act:   put("db", files{"user": "a", "password": "1"}),
			files: first,
			log:   `"published"`,
		},
		{
			name:   "complete when a Secret matches the selector",
			act:    put("web", files{"crt": "c"}, "app=web"),
			files:  whole,
			ready:  true,
			notify: []string{"+" + at("web/crt")},
		},
		{name: "rotate", act: put("db", files{"user": "b", "password": "2"}), files: second, ready: true,
			notify: []string{"~" + at("db/password"), "~" + at("db/user")}},
		{name: "add a key", act: put("db", files{"user": "b", "password": "2", "new": "n"}), ready: true,
			files: in(
				files{"db/user": "b", "db/password": "2", "db/new": "n", "web/crt": "c"},
			), notify: []string{"+" + at("db/new")}},
		{name: "remove a key", act: put("db", files{"user": "b", "password": "2"}), files: second, ready: true,
			notify: []string{"-" + at("db/new")}},
		{
			name:  "a label changes nothing",
			act:   put("db", files{"user": "b", "password": "2"}, "some=label"),
			files: second,
			ready: true,
			same:  true,
		},
		{
			name:   "the optional Secret appears",
			act:    put("extra", files{"key": "x"}),
			files:  most,
			ready:  true,
			notify: []string{"+" + at("extra/key")},
		},
		{name: "a Secret loses the label", act: put("web", files{"crt": "not ours"}), files: most, ready: true,
			same: true},
		{name: "delete keeps the files", act: remove("db"), files: most, ready: true, same: true},
		{name: "recreate", act: put("db", files{"user": "c", "password": "3"}), files: again, ready: true,
			notify: []string{"~" + at("db/password"), "~" + at("db/user")}},
		{name: "SIGTERM keeps the files", act: func(l *life) { l.run.Stop() }, files: again, ready: true, same: true},
		{
			name:  "a restart with nothing changed",
			act:   l.start(t),
			files: again,
			log:   "watch connected",
			ready: true,
			same:  true,
		},
		{name: "stop, change, start", ready: true, files: down, act: func(l *life) {
			l.run.Stop()
			l.SetSecret("db", files{"user": "d", "password": "4"})
			l.start(t)(l)
		}, notify: []string{"~" + at("db/password"), "~" + at("db/user")}},
		{name: "the end", act: func(l *life) { l.run.Stop() }, files: down, ready: true, same: true},
	}
}

// TestLife_onDeleteRemove: the sidecar waits 5 s for a deleted Secret to return before it
// removes the files.
func TestLife_onDeleteRemove(t *testing.T) {
	t.Parallel()
	l := newLife(
		t,
		st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "extra", "SECRETSYNC_ON_DELETE": "remove"},
	)
	both := files{"db/k": "1", "extra/k": "2"}
	l.SetSecret("extra", files{"k": "2"})
	l.walk(t, []phase{
		{name: "boot", act: func(l *life) { l.start(t)(l); l.SetSecret("db", files{"k": "1"}) }, files: both,
			ready: true},
		{
			name:  "deleted and back",
			act:   func(l *life) { l.Delete("extra"); l.SetSecret("extra", files{"k": "2"}) },
			files: both,
			ready: true,
			same:  true,
		},
		{name: "deleted", act: remove("extra"), files: files{"db/k": "1"}, ready: true, notify: []string{"-extra/k"}},
		{
			name:   "back much later",
			act:    put("extra", files{"k": "3"}),
			files:  files{"db/k": "1", "extra/k": "3"},
			ready:  true,
			notify: []string{"+extra/k"},
		},
	})
}
