package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

const socketMax = 107 // length of sockaddr_un.sun_path without its zero byte

// bareIPv6 matches a URL whose host is an IPv6 address without brackets, as in http://$(POD_IP):8080/.
var bareIPv6 = regexp.MustCompile(`^[^/]*//([^/?#]*@)?[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:]*([/?#]|$)`)

// A URL is the address of a webhook. Its printed form omits userinfo and query, which often contain tokens.
type URL struct {
	url    *url.URL // address of the request
	socket string   // path of a Unix socket; empty for TCP
}

// ParseURL parses http://HOST[:PORT]/PATH, https://…, or unix:///PATH/TO.sock:/URL/PATH, whose URL path
// defaults to "/". No error contains a part of s, because s may contain a password in an unexpected place.
func ParseURL(s string) (*URL, error) {
	u, err := url.Parse(s)
	switch {
	case bareIPv6.MatchString(s):
		return nil, errors.New("an IPv6 address in a URL requires brackets: http://[ADDRESS]:PORT/PATH")
	case err != nil:
		return nil, errors.New("not a valid URL")
	case u.Fragment != "":
		return nil, errors.New("the URL contains a fragment (#), which is never sent to a server")
	case u.Scheme == "unix":
		return parseSocket(s[len("unix:"):])
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the scheme is not http://, https:// or unix://")
	case u.Hostname() == "":
		return nil, errors.New("the URL contains no host")
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || port == 0) {
		return nil, errors.New("the port is not a number from 1 to 65535")
	}
	return &URL{url: u}, nil
}

func parseSocket(s string) (*URL, error) {
	socket, path, _ := strings.Cut(strings.TrimPrefix(s, "//"), ":/")
	if !strings.HasPrefix(s, "///") || strings.HasSuffix(socket, "/") || len(socket) > socketMax {
		return nil, fmt.Errorf("the form of a unix:// URL is unix:///PATH/TO.sock:/URL/PATH, "+
			"and the path of the socket is at most %d bytes long", socketMax)
	}
	u, err := ParseURL("http://localhost/" + path)
	if err == nil {
		u.socket = socket
	}
	return u, err
}

func (u *URL) IsTLS() bool   { return u.url.Scheme == "https" }
func (u *URL) HasUser() bool { return u.url.User != nil }

// Format implements fmt.Formatter. It prints scheme, host and path for every verb.
func (u *URL) Format(f fmt.State, _ rune) {
	text := redacted(u.url)
	if u.socket != "" {
		text = "unix://" + u.socket + ":" + u.url.EscapedPath()
	}
	io.WriteString(f, text)
}

// redacted returns u without userinfo and query.
func redacted(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
