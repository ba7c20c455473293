package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// TestFinish_keepsTheUser lists the conditions in which finish must drop nobody. The next
// run must succeed once the condition has ended.
func TestFinish_keepsTheUser(t *testing.T) {
	server := embedded(t)
	for name, test := range map[string]struct {
		fault func(s *scene, a *attempt) (repair func())
		want  string
	}{
		"the user in the Secret cannot log in": {
			fault: func(s *scene, a *attempt) func() {
				good := s.inSecret()
				s.putCredentials(pool.Credentials{Username: good.Username, Password: "wrong"})
				a.target, _ = a.read(t.Context())
				return func() { s.putCredentials(good) }
			},
			want: "cannot log in",
		},
		"the Secret has changed": {
			fault: func(s *scene, _ *attempt) func() {
				good := s.inSecret()
				s.putCredentials(firstUser)
				return func() { s.putCredentials(good) }
			},
			want: "has changed since the wait",
		},
		"the password in the Secret has changed": {
			fault: func(s *scene, _ *attempt) func() {
				good := s.inSecret()
				s.putCredentials(pool.Credentials{Username: good.Username, Password: "other"})
				return func() { s.putCredentials(good) }
			},
			want: "has changed since the wait",
		},
		"the Secret was created again": {
			fault: func(s *scene, _ *attempt) func() {
				good := s.inSecret()
				s.Delete("db")
				s.putCredentials(good)
				return func() {}
			},
			want: "has changed since the wait",
		},
		"the administrator sees no session of others": {
			fault: func(_ *scene, a *attempt) func() {
				a.db.dialect.sessions = "SELECT COUNT(*) FROM information_schema.processlist " +
					"WHERE user = CONCAT(?, '_')"
				return func() {}
			},
			want: "cannot see sessions of other users",
		},
		"a session of the old user is open": {
			fault: func(s *scene, a *attempt) func() {
				a.sessionTimeout = 300 * time.Millisecond
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
			a := s.newRun()
			mustDo(t, errors.Join(a.prepareStep(t.Context()), a.waitStep(t.Context())))
			repair := test.fault(s, a)
			err := a.finishStep(t.Context())
			if err == nil || !regexp.MustCompile("^keeping user app_a: .*"+test.want).MatchString(err.Error()) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
			if got := s.existing(); len(got) != 2 {
				t.Errorf("users %q exist, want both", got)
			}
			repair()
			s.mustRun()
			if got := s.existing(); !slices.Equal(got, []string{"app_b"}) {
				t.Errorf("after the next run: users %q exist, want app_b", got)
			}
		})
	}
}

func (s *scene) putCredentials(c pool.Credentials) {
	s.t.Helper()
	s.SetSecret("db", map[string]string{"username": c.Username, "password": c.Password})
}

// TestFinish_waitsForSessions closes the last session of the old user while finish waits.
func TestFinish_waitsForSessions(t *testing.T) {
	s := newScene(t, embedded(t))
	session := s.open()
	a := s.newRun()
	mustDo(t, errors.Join(a.prepareStep(t.Context()), a.waitStep(t.Context())))
	ended := make(chan error)
	go func() { ended <- a.finishStep(t.Context()) }()
	select {
	case err := <-ended:
		t.Fatalf("finish returned %v with an open session of the old user", err)
	case <-time.After(500 * time.Millisecond):
	}
	session.Close()
	mustDo(t, <-ended)
	if got := s.existing(); !slices.Equal(got, []string{"app_b"}) {
		t.Errorf("users %q exist, want app_b", got)
	}
}

// TestFinish_userIsGone: somebody else has dropped the old user. A run that changes nothing must not succeed.
func TestFinish_userIsGone(t *testing.T) {
	s := newScene(t, embedded(t))
	a := s.newRun()
	mustDo(t, errors.Join(a.prepareStep(t.Context()), a.waitStep(t.Context())))
	db, unlock := s.locked()
	mustDo(t, db.drop(t.Context(), "app_a"))
	if db.drop(t.Context(), "app_a") == nil {
		t.Error("the statement succeeds without the user")
	}
	unlock()
	if err := a.finishStep(t.Context()); err == nil || !strings.Contains(err.Error(), "it does not exist") {
		t.Errorf("got error %v, want the missing user", err)
	}
}
