package webhook

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

func TestParseURL(t *testing.T) {
	for s, want := range map[string]string{
		"http://localhost:8080/reload":               "http://localhost:8080/reload",
		"HTTPS://user:hunter2@app/x?token=hunter2":   "https://app/x",
		"http://[::1]:80":                            "http://[::1]:80",
		"unix:///run/app.sock:/reload?token=hunter2": "unix:///run/app.sock:/reload",
		"unix:///run/app.sock":                       "unix:///run/app.sock:/",
		"Unix:///run/app.sock:/":                     "unix:///run/app.sock:/",
	} {
		u, err := ParseURL(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%d"} {
			if got := fmt.Sprintf(verb, u); got != want {
				t.Errorf("%q is printed by %s as %q, want %q", s, verb, got, want)
			}
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("", "url", u)
		if !strings.Contains(log.String(), "url="+want) {
			t.Errorf("%q is logged as %q, want %q", s, log.String(), want)
		}
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "url", u)
		if strings.Contains(log.String(), "hunter2") {
			t.Errorf("%q: the log contains a secret: %q", s, log.String())
		}
	}
	for _, s := range []string{
		"", "hunter2", "localhost:80", "user:hunter2@host", "http://", "http:///path", "http://:80/",
		"http://user:hunter2@/x",
		"http://host:hunter2/", "http://user:hun%zzter2@host/", "http://ho st/?hunter2", "http://host/#hunter2",
		"ftp://hunter2",
		"unix://", "unix://relative.sock:/x", "unix:///", "unix:///dir/:/x", "unix:/hunter2", "http://host/\x7fhunter2",
		"unix:///" + strings.Repeat("x", 200) + ":/hunter2",
	} {
		u, err := ParseURL(s)
		if err == nil {
			t.Errorf("%q is %v, want an error", s, u)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error contains a secret: %v", s, err)
		}
	}
}

// TestParseURL_bareIPv6: the error for $(POD_IP) in a dual-stack cluster names the cause.
func TestParseURL_bareIPv6(t *testing.T) {
	for _, s := range []string{"http://fd00::1/x", "https://fd00::1:8080", "http://user:hunter2@::1?hunter2",
		"http://2001:DB8:0:0:0:0:0:1/"} {
		_, err := ParseURL(s)
		testsupport.WantError(t, err, "IPv6", "http://[ADDRESS]:PORT")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error contains a secret: %v", s, err)
		}
	}
	for _, s := range []string{"http://x:y:z/", "http://user:hunter2@host:x:y/"} {
		if _, err := ParseURL(s); err == nil || strings.Contains(err.Error(), "IPv6") {
			t.Errorf("%q: %v, want an error without IPv6", s, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"http://u:p@h/x?q", "unix:///s:/p?q", "https://[::1]:1/%2f", "http://h/\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(fmt.Sprint(u), "@?#") && !strings.ContainsAny(u.url.EscapedPath()+u.socket, "@?#") {
			t.Errorf("%q is printed as %q", s, u)
		}
		if _, err := url.Parse(u.url.String()); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}
