package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
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
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("it is not in the form of a URL")
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment (#), which no server receives")
	case u.Scheme == "unix":
		return parseSocket(s[len("unix:"):])
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the scheme is not http://, https:// or unix://")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || port == 0) {
		return nil, errors.New("the port is not a number from 1 to 65535")
	}
	return &URL{url: u}, nil
}

// parseSocket takes ///PATH/TO.sock:/URL/PATH.
func parseSocket(s string) (*URL, error) {
	socket, path, _ := strings.Cut(strings.TrimPrefix(s, "//"), ":/")
	if !strings.HasPrefix(s, "///") || strings.HasSuffix(socket, "/") || len(socket) > socketMax {
		return nil, fmt.Errorf("a unix:// URL is unix:///PATH/TO.sock:/URL/PATH, with at most %d bytes of path to the socket", socketMax)
	}
	u, err := ParseURL("http://localhost/" + path)
	if err == nil {
		u.socket = socket
	}
	return u, err
}

// IsTLS reports whether the server proves who it is.
func (u *URL) IsTLS() bool { return u.url.Scheme == "https" }

// HasUser reports whether a call is authorized by the URL itself.
func (u *URL) HasUser() bool { return u.url.User != nil }

// Format shows scheme, host and path for every verb of fmt, and so in a log.
func (u *URL) Format(f fmt.State, _ rune) {
	text := shown(u.url)
	if u.socket != "" {
		text = "unix://" + u.socket + ":" + u.url.EscapedPath()
	}
	io.WriteString(f, text)
}

// shown is a URL without what may be secret in it.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
