package rotate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

func TestRotate_alternatesTheUsers(t *testing.T) {
	newScene(t, embedded(t)).mustRotate()
}

// TestRotate_diesAtEachPoint kills a run at different points. All credentials in use must
// work, the next run must leave a single user, and the run after it must rotate.
func TestRotate_diesAtEachPoint(t *testing.T) {
	server := embedded(t)
	arrived := make(chan struct{})
	for name, reach := range map[string]func(s *scene) *run{
		"before the update of the Secret": func(s *scene) *run {
			s.throughGateway().SetAnswer(faultproxy.UpdatesHeld(arrived, nil))
			r := s.newRun(nil)
			r.start()
			r.mustArrive(arrived)
			return r
		},
		"after the update of the Secret": func(s *scene) *run {
			s.throughGateway().SetAnswer(faultproxy.UpdatesUnanswered(arrived))
			r := s.newRun(nil)
			r.start()
			r.mustArrive(arrived)
			return r
		},
		"during the wait, before the app reloads": func(s *scene) *run {
			r := s.newRun(nil)
			mustDo(t, r.prepare())
			return r
		},
		"during the wait, after the app has reloaded": func(s *scene) *run {
			r := s.newRun(nil)
			mustDo(t, r.prepare())
			mustDo(t, r.wait())
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, server)
			direct := s.job
			reach(s).kill()
			s.job = direct
			s.check("after the end")
			s.wantUsers("after the end", "app_a", "app_b")
			s.mustRun()
			s.wantUsers("after the next run", s.app.Username)
			before := s.app
			s.mustRun()
			if s.app == before {
				t.Error("the run after the next run did not rotate")
			}
		})
	}
}

// mustArrive waits for a value of the gateway while the run is under way.
func (r *run) mustArrive(arrived <-chan struct{}) {
	r.scene.t.Helper()
	select {
	case <-arrived:
	case <-r.Done():
		r.scene.t.Fatalf("the run ended: %v", r.result())
	}
}

// TestRotate_twoRunsInEveryOrder interleaves the steps of two runs in every order.
func TestRotate_twoRunsInEveryOrder(t *testing.T) {
	server := embedded(t)
	for _, order := range orders("aaabbb") {
		s := newScene(t, server)
		runs := map[rune][]func() error{'a': s.newRun(nil).steps(), 'b': s.newRun(nil).steps()}
		for i, name := range order {
			if len(runs[name]) == 0 {
				continue // the run failed
			}
			step := runs[name][0]
			runs[name] = runs[name][1:]
			if err := step(); err != nil {
				runs[name] = nil
				if !strings.Contains(err.Error(), "keeping user") {
					t.Errorf("%s: %v", order, err)
				}
			}
			s.check(fmt.Sprintf("%s, step %d", order, i+1))
		}
	}
}

// orders returns the distinct permutations of letters.
func orders(letters string) (all []string) {
	if letters == "" {
		return []string{""}
	}
	for i, letter := range letters {
		if i > 0 && strings.ContainsRune(letters[:i], letter) {
			continue
		}
		for _, rest := range orders(letters[:i] + letters[i+1:]) {
			all = append(all, string(letter)+rest)
		}
	}
	return all
}

// TestRotate_hangingUpdate covers a first run whose update of the Secret hangs and whose
// database connection dies, while a second run performs a whole rotation. The update
// arrives last. It must not put a user into the Secret that the second run has dropped.
func TestRotate_hangingUpdate(t *testing.T) {
	s := newScene(t, embedded(t))
	direct := s.job
	arrived, resume := make(chan struct{}), make(chan struct{})
	s.throughGateway().SetAnswer(faultproxy.UpdatesHeld(arrived, resume))
	wire := faultproxy.NewWire(t, s.server.Addr)
	first := s.newRun(st.Env{"ROTATE_DATABASE": strings.Replace(s.server.URL, s.server.Addr, wire.Address, 1)})
	first.start()
	first.mustArrive(arrived)
	wire.Reset() // the lock ends with its connection
	s.job = direct
	s.mustRun()
	first.endWait("0") // the run would reach its wait only if its update succeeded
	close(resume)
	wantError(t, first.result(), `update Secret "db": Operation cannot be fulfilled`)
	s.check("after the hanging update")
	s.mustRun()
	s.wantUsers("after another run", s.app.Username)
}

// TestRun_waitFails covers a run whose wait fails. The run must drop nobody.
func TestRun_waitFails(t *testing.T) {
	s := newScene(t, embedded(t))
	r := s.newRun(nil)
	mustDo(t, r.prepare())
	r.endWait("1")
	wantError(t, r.result(), "keeping user app_a: secret-sync wait: exit status 1")
	s.wantUsers("after the run", "app_a", "app_b")
}

// TestDryRun_changesNothing checks the output of a dry run, for a new rotation and for an
// unfinished rotation.
func TestDryRun_changesNothing(t *testing.T) {
	s := newScene(t, embedded(t))
	s.checkDryRun("CREATE USER `app_b`@`%` IDENTIFIED BY '…'\n" +
		"GRANT SELECT, INSERT, UPDATE, DELETE ON `app`.* TO `app_b`@`%`\n" +
		"update Secret \"db\": username app_b, password …\n" +
		"secret-sync wait --secret db --direct --version VERSION\n" +
		"DROP USER `app_a`@`%`\n")
	r := s.newRun(nil)
	mustDo(t, r.prepare())
	r.kill()
	s.checkDryRun("finishing an earlier rotation: user app_a exists\n" +
		"secret-sync wait --secret db --direct --version VERSION\n" +
		"DROP USER `app_a`@`%`\n")
}

// checkDryRun compares the output of a dry run. The run must change nothing.
func (s *scene) checkDryRun(want string) {
	s.t.Helper()
	version, existing := s.Get("db").ResourceVersion, s.existing()
	r := s.newRun(nil, "-dry-run", "--", "--direct")
	r.start()
	mustDo(s.t, r.result())
	if got := r.out.String(); got != want {
		s.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := s.Get("db").ResourceVersion; got != version {
		s.t.Error("the dry run changed the Secret")
	}
	if got := s.existing(); !slices.Equal(got, existing) {
		s.t.Errorf("the dry run changed the users from %q to %q", existing, got)
	}
}

// TestExists_singleHost covers an account app_b@localhost, which MariaDB prefers to app_b@%. A run must fail and
// change nothing: its user app_b@% could not log in from this host, and the job would never rotate.
func TestExists_singleHost(t *testing.T) {
	s := newScene(t, embedded(t))
	mustExec(t, s.admin(), "CREATE USER app_b@localhost IDENTIFIED BY 'x'")
	before := s.Get("db").ResourceVersion
	for range 2 {
		wantError(t, s.newRun(nil).all(), "app_b@localhost takes precedence over app_b@%")
	}
	if s.Get("db").ResourceVersion != before {
		t.Error("the run changed the Secret")
	}
	mustExec(t, s.admin(), "DROP USER app_b@localhost")
	s.mustRotate()
}
