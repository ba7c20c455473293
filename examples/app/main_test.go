package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
)

// newApp starts the app and a database with the users a and b. The password of each
// user equals its name.
func newApp(t *testing.T) (p *pool.Pool, url, dir string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go mysqlserver.Serve(t.Context(), l, "root", "root")
	database := "mysql://" + l.Addr().String() + "/" + mysqlserver.Database
	connector, err := pool.Connector(database, pool.Credentials{Username: "root", Password: "root"})
	if err != nil {
		t.Fatal(err)
	}
	admin := sql.OpenDB(connector)
	defer admin.Close()
	for _, s := range []string{
		"CREATE TABLE secretsync_items (id INT PRIMARY KEY)", "INSERT INTO secretsync_items VALUES (1)",
		"CREATE USER a@'%' IDENTIFIED BY 'a'", "GRANT SELECT ON app.* TO a@'%'",
		"CREATE USER b@'%' IDENTIFIED BY 'b'", "GRANT SELECT ON app.* TO b@'%'",
	} {
		if _, err := admin.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	dir = t.TempDir()
	publish(t, dir, "a", "a")
	if p, err = pool.Open(t.Context(), pool.Options{Database: database, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	server := httptest.NewServer(handler(p))
	t.Cleanup(server.Close)
	return p, server.URL, dir
}

func publish(t *testing.T, dir, username, password string) {
	t.Helper()
	generation, err := os.MkdirTemp(dir, "..generation-")
	link := filepath.Join(dir, "..data_tmp")
	if err := errors.Join(err,
		os.WriteFile(filepath.Join(generation, "username"), []byte(username), 0o644),
		os.WriteFile(filepath.Join(generation, "password"), []byte(password), 0o644),
		os.Symlink(filepath.Base(generation), link),
		os.Rename(link, filepath.Join(dir, "..data"))); err != nil {
		t.Fatal(err)
	}
}

func request(t *testing.T, method, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return fmt.Sprint(resp.StatusCode)
}

// TestWebhook_answersOnceTheReloadIsDone checks each answer of POST /-/reload, and the
// user of the connections after it.
func TestWebhook_answersOnceTheReloadIsDone(t *testing.T) {
	p, url, dir := newApp(t)
	for _, step := range []struct{ username, password, want, user string }{
		{"a", "a", "204", "a"},
		{"b", "wrong", "500", "a"},
		{"b", "b", "204", "b"},
	} {
		publish(t, dir, step.username, step.password)
		if got := request(t, "POST", url+"/-/reload"); got != step.want {
			t.Errorf("reload as %s with %q: %s, want %s", step.username, step.password, got, step.want)
		}
		if got := request(t, "GET", url+"/query"); got != "200" {
			t.Errorf("query after the reload: %s, want 200", got)
		}
		if got := p.Status().User; got != step.user {
			t.Errorf("connected as %s, want %s", got, step.user)
		}
	}
	if got := request(t, "GET", url+"/-/reload"); got != "405" {
		t.Errorf("GET reload: %s, want 405", got)
	}
}

// TestSignal_retriesAFailedReload covers a signal whose reload fails. The sidecar does
// not learn of the failure, so the app must retry.
func TestSignal_retriesAFailedReload(t *testing.T) {
	p, url, dir := newApp(t)
	before, log := slog.Default(), &testsupport.Log{}
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	defer slog.SetDefault(before)
	ctx, cancel := context.WithCancel(t.Context())
	hup, ended := make(chan os.Signal, 1), make(chan struct{})
	go func() { reloadOnDemand(ctx, p, hup, nil); close(ended) }()
	publish(t, dir, "b", "wrong")
	hup <- syscall.SIGHUP
	testsupport.Eventually(t, "the failed reload", func() error {
		if log.Count("reload failed") == 0 {
			return errors.New("not logged")
		}
		return nil
	})
	publish(t, dir, "b", "b")
	testsupport.Eventually(t, "the retry of the app", func() error {
		if user := p.Status().User; user != "b" {
			return fmt.Errorf("the user is %q", user)
		}
		return nil
	})
	if got := request(t, "GET", url+"/query"); got != "200" {
		t.Errorf("query: %s, want 200", got)
	}
	cancel()
	<-ended
}

// TestStatus_containsNoPassword checks the document of GET /status.
func TestStatus_containsNoPassword(t *testing.T) {
	p, url, _ := newApp(t)
	resp, err := http.Get(url + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, `"user":"a"`) || strings.Contains(s, "assword") ||
		p.Status().Since.IsZero() {
		t.Errorf("status %s, want the user, the time and no password", s)
	}
}
