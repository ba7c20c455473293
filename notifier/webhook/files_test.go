package webhook

import (
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// TestNotify_kinds: the kind of a failure, which /status contains, is a constant. It contains no path, and nothing from
// the answer of the server.
func TestNotify_kinds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/password", "")
	noHTTP := rawServer(t, func(c net.Conn, _ string) { io.WriteString(c, "password\r\n\r\n") })
	teapot := rawServer(t, func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 418 password\r\n\r\n") })
	closed := rawServer(t, func(net.Conn, string) {})
	for _, tt := range []struct {
		url    string
		target Target
		want   string
	}{
		{closed, Target{TokenFile: dir + "/none"}, "token file"},
		{closed, Target{TokenFile: dir + "/password"}, "token"},
		{"https://127.0.0.1:1/", Target{CAFile: dir + "/none"}, "CA file"},
		{"https://127.0.0.1:1/", Target{CAFile: dir + "/password"}, "CA"},
		{"http://127.0.0.1:1/", Target{}, "dial: connection refused"},
		{"unix://" + dir + "/password:/", Target{}, "dial: connection refused"},
		{"unix://" + dir + "/none:/", Target{}, "dial: no such file or directory"},
		{teapot, Target{}, "HTTP 418"},
		{closed, Target{}, "EOF"},
		{noHTTP, Target{}, "other"},
	} {
		err := newWebhook(t, tt.url, tt.target).Notify(t.Context(), someChanges)
		if err == nil || notifier.AsFailure(err).Kind != tt.want {
			t.Errorf("%v: kind = %q, want %q", err, notifier.AsFailure(err).Kind, tt.want)
		}
	}
}

// TestNotify_tooManyFiles: without a free descriptor, the error names the remedy, for a connection
// and for a token file.
func TestNotify_tooManyFiles(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 3, Max: limit.Max}
	for _, target := range []Target{{}, {TokenFile: "/dev/null"}} {
		w := newWebhook(t, "http://127.0.0.1:1/", target)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		err := w.Notify(t.Context(), someChanges)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		testsupport.WantError(t, err, "webhook http://127.0.0.1:1/", "too many open files", "ulimit -n")
	}
}
