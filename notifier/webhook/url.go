package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// URL is where a webhook calls. What it shows of itself, in any form and
// at any log level, is without userinfo and query: people put tokens there.
type URL struct {
	url    *url.URL // what is requested
	socket string   // the path of a unix socket, "" for TCP
}

// socketMax is what sockaddr_un.sun_path holds beside its zero byte.
const socketMax = 107

// ParseURL takes http://HOST[:PORT]/PATH, https://…, or
// unix:///PATH/TO.sock:/URL/PATH, where the URL path is "/" when it is left out.
// No error has any part of what was given, which may be a password in the wrong
// place.
func ParseURL(s string) (*URL, error) {
	socket := ""
	if rest, ok := cutScheme(s, "unix://"); ok {
		path, target, _ := strings.Cut(rest, ":/")
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || len(path) > socketMax {
			return nil, fmt.Errorf("a unix:// URL is unix:///PATH/TO.sock:/URL/PATH, with at most %d bytes of path to the socket", socketMax)
		}
		socket, s = path, "http://localhost/"+target
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("it is not in the form of a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the scheme is not http://, https:// or unix://")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment (#), which no server receives")
	}
	return &URL{url: u, socket: socket}, nil
}

func cutScheme(s, scheme string) (string, bool) {
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", false
	}
	return s[len(scheme):], true
}

// String is for people: scheme, host and path.
func (u *URL) String() string {
	if u.socket != "" {
		return "unix://" + u.socket + ":" + u.url.EscapedPath()
	}
	return shown(u.url)
}

// shown is a URL without what may be secret in it.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// GoString is for %#v, which would show the fields.
func (u *URL) GoString() string { return u.String() }

// LogValue is for slog.
func (u *URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
