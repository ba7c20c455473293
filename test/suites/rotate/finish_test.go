package rotate

import (
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestFinish_keepsTheUser lists the conditions in which finish must drop nobody. The next
// run must succeed once the condition has ended.
func TestFinish_keepsTheUser(t *testing.T) {
	server := embedded(t)
	for name, test := range map[string]struct {
		env   st.Env
		fault func(s *scene) (repair func())
		want  string
	}{
		"the Secret has changed": {
			fault: func(s *scene) func() {
				good := s.inSecret()
				s.putCredentials(firstUser)
				return func() { s.putCredentials(good) }
			},
			want: "has changed since the wait",
		},
		"the password in the Secret has changed": {
			fault: func(s *scene) func() {
				good := s.inSecret()
				s.putCredentials(pool.Credentials{Username: good.Username, Password: "other"})
				return func() { s.putCredentials(good) }
			},
			want: "has changed since the wait",
		},
		"the Secret was created again": {
			fault: func(s *scene) func() {
				good := s.inSecret()
				s.Delete("db")
				s.putCredentials(good)
				return func() {}
			},
			want: "has changed since the wait",
		},
		"a session of the old user is open": {
			env: st.Env{"ROTATE_SESSION_TIMEOUT": "300ms"},
			fault: func(s *scene) func() {
				s.app = firstUser
				session := s.open()
				s.app = s.inSecret()
				return func() { session.Close() }
			},
			want: "1 sessions",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, server)
			r := s.newRun(test.env)
			mustDo(t, errors.Join(r.prepare(), r.wait()))
			repair := test.fault(s)
			s.mustKeepTheUser(r, test.want, repair)
		})
	}
}

// mustKeepTheUser finishes a run, which must fail with an error and drop nobody. After the repair, the next run must
// succeed.
func (s *scene) mustKeepTheUser(r *run, want string, repair func()) {
	s.t.Helper()
	err := r.finish()
	if err == nil || !regexp.MustCompile("^keeping user app_a: .*"+want).MatchString(err.Error()) {
		s.t.Errorf("got error %v, want %q", err, want)
	}
	s.wantUsers("after the run", "app_a", "app_b")
	repair()
	s.mustRun()
	s.wantUsers("after the next run", "app_b")
}

// TestFinish_newUserCannotLogIn covers a wrong password in the Secret, which a run finds when it finishes an earlier
// rotation.
func TestFinish_newUserCannotLogIn(t *testing.T) {
	s := newScene(t, embedded(t))
	first := s.newRun(nil)
	mustDo(t, errors.Join(first.prepare(), first.wait()))
	first.kill()
	good := s.inSecret()
	s.putCredentials(pool.Credentials{Username: good.Username, Password: "wrong"})
	r := s.newRun(nil)
	mustDo(t, r.prepare())
	s.mustKeepTheUser(r, "cannot log in", func() { s.putCredentials(good) })
}

// TestFinish_waitsForSessions closes the last session of the old user while the run waits for its end.
func TestFinish_waitsForSessions(t *testing.T) {
	s := newScene(t, embedded(t))
	session := s.open()
	r := s.newRun(nil)
	mustDo(t, errors.Join(r.prepare(), r.wait()))
	r.endWait("0")
	testsupport.EventuallyWithin(t, patience, "the run to log in", func() error {
		if s.sessions("app_b") == 0 {
			return errors.New("app_b has no session")
		}
		return nil
	})
	st.Throughout(t, 500*time.Millisecond, "an open session of the old user", func() error {
		select {
		case <-r.Done():
			return fmt.Errorf("the run has ended: %v", r.result())
		default:
			return nil
		}
	})
	session.Close()
	mustDo(t, r.result())
	s.wantUsers("after the run", "app_b")
}

// TestFinish_userIsGone: somebody else has dropped the old user. A run that changes nothing must not succeed.
func TestFinish_userIsGone(t *testing.T) {
	s := newScene(t, embedded(t))
	r := s.newRun(nil)
	mustDo(t, errors.Join(r.prepare(), r.wait()))
	mustExec(t, s.admin(), "DROP USER "+s.account("app_a"))
	wantError(t, r.finish(), "it does not exist")
}
