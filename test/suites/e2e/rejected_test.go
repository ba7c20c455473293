package e2e

import (
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestLife_rejectedSecret: a Secret without a required key or item is rejected, and its
// published files remain.
func TestLife_rejectedSecret(t *testing.T) {
	t.Parallel()
	l := newLife(t, st.Env{
		"SECRETSYNC_SECRETS":       "db,tls",
		"SECRETSYNC_REQUIRED_KEYS": "db/password",
		"SECRETSYNC_ITEMS":         "tls/tls.crt=certs/server.pem",
	})
	l.SetSecret("tls", files{"tls.crt": "cert", "tls.key": "not asked for"})
	l.SetSecret("db", files{"user": "a", "password": ""})
	good := files{"db/user": "a", "db/password": "1", "tls/certs/server.pem": "cert"}
	next := files{"db/user": "a", "db/password": "1", "tls/certs/server.pem": "cert 2"}
	l.walk(t, []phase{
		{name: "an empty required key", act: l.start(t), files: files{}, log: "rejected a Secret"},
		{name: "the key is set", act: put("db", files{"user": "a", "password": "1"}), files: good, ready: true},
		{
			name:  "a key without an item",
			act:   put("tls", files{"tls.crt": "cert", "tls.key": "other"}),
			files: good,
			ready: true,
			same:  true,
		},
		{
			name:  "the required key is removed",
			act:   put("db", files{"user": "b"}),
			files: good,
			log:   "rejected a Secret",
			ready: true,
			same:  true,
		},
		{
			name:   "the other Secret is still updated",
			act:    put("tls", files{"tls.crt": "cert 2"}),
			files:  next,
			ready:  true,
			notify: []string{"~tls/certs/server.pem"},
		},
		{
			name:  "the item is removed",
			act:   put("tls", files{"other": "x"}),
			files: next,
			log:   "rejected a Secret",
			ready: true,
			same:  true,
		},
		{name: "no keys at all", act: put("tls", files{}), files: next, ready: true, same: true},
		{name: "both are valid again", act: func(l *life) {
			l.SetSecret("tls", files{"tls.crt": "cert 2"})
			l.SetSecret("db", files{"user": "c", "password": "3"})
		}, files: files{"db/user": "c", "db/password": "3", "tls/certs/server.pem": "cert 2"}, ready: true,
			notify: []string{"~db/password", "~db/user"}},
	})
}
