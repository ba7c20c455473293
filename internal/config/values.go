package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/notifier/process"
)

// name is that of a Kubernetes object.
type name struct{ value[string] }

func (n *name) parse(s string) {
	n.Value = s
	valid := isSubdomain(s) && (!n.has("label") || len(validation.IsDNS1123Label(s)) == 0)
	n.require(valid, "a name of Kubernetes, such as the downward API gives")
}

func isSubdomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }

type choice struct{ value[string] }

func (c *choice) parse(s string) {
	c.Value = s
	allowed := strings.Split(c.tag.Get("oneof"), ",")
	last := len(allowed) - 1
	c.require(slices.Contains(allowed, s), strings.Join(allowed[:last], ", ")+" or "+allowed[last])
}

type boolean struct{ value[bool] }

func (b *boolean) parse(s string) {
	var err error
	b.Value, err = strconv.ParseBool(s)
	b.require(err == nil, "true or false")
}

type duration struct{ value[time.Duration] }

// maxDuration keeps sums and multiples of durations far from an overflow.
const maxDuration = 365 * 24 * time.Hour

func (d *duration) parse(s string) {
	least, allowed := time.Duration(0), "0s, 1500ms or 2m, not negative"
	if d.has("positive") {
		least, allowed = 1, "1500ms or 2m, more than 0s"
	}
	var err error
	d.Value, err = time.ParseDuration(s)
	d.require(err == nil && d.Value >= least && d.Value <= maxDuration, "a time with its unit such as "+allowed+", at most 8760h")
}

// octal is a file mode, with or without a leading 0 or 0o. The owner may always
// read.
type octal struct{ value[fs.FileMode] }

func (o *octal) parse(s string) {
	var err error
	o.Value, err = parseMode(s)
	o.require(err == nil, allowedMode)
}

const allowedMode = "an octal number from 0 to 0777, such as 0640"

func parseMode(s string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, errors.New("the mode is not " + allowedMode)
	}
	return fs.FileMode(mode) | 0o400, nil
}

// directory is a clean absolute path. People write a slash at its end.
type directory struct{ value[string] }

func (d *directory) parse(s string) {
	d.Value = s[:1] + strings.TrimRight(s[1:], "/")
	d.require(filepath.IsAbs(s) && d.Value != "/" && filepath.Clean(d.Value) == d.Value,
		"an absolute path without . or .. or //, other than /")
}

// file is an absolute path.
type file struct{ value[string] }

func (f *file) parse(s string) {
	f.Value = s
	f.require(isFile(s), "an absolute path of a file")
}

func isFile(s string) bool { return filepath.IsAbs(s) && !strings.HasSuffix(s, "/") }

// address is where a server listens: host:port, where port 0 takes a free one.
type address struct{ value[string] }

func (a *address) parse(s string) {
	a.Value = s
	host, port, err := net.SplitHostPort(s)
	_, portErr := strconv.ParseUint(port, 10, 16)
	ip, ipErr := netip.ParseAddr(host)
	valid := host == "" || ipErr == nil || isSubdomain(strings.ToLower(host))
	allowed := "host:port or :port, such as :29808, or empty for no server"
	if a.has("loopback") {
		valid = host == "localhost" || ip.Unmap().IsLoopback()
		allowed = "a loopback address and a port, such as 127.0.0.1:6060, [::1]:6060 or localhost:6060"
	}
	a.require(err == nil && portErr == nil && valid, allowed)
}

type signal struct{ value[syscall.Signal] }

func (n *signal) parse(s string) {
	var err error
	n.Value, err = process.ParseSignal(s)
	n.require(err == nil, "a signal's name such as HUP, SIGUSR1 or RTMIN+1, or its number from 1 to 64, but 32 and 33")
}

type method struct{ value[string] }

func (m *method) parse(s string) {
	m.Value = s
	_, err := http.NewRequest(s, "/", nil)
	m.require(err == nil, "an HTTP method such as POST")
}

// jsonList is a command and its arguments.
type jsonList struct{ value[[]string] }

func (l *jsonList) parse(s string) {
	if err := l.set(s); err != nil {
		l.reject(s, err.Error(), `a JSON array of strings such as ["nginx","-s","reload"]`)
	}
}

func (l *jsonList) set(s string) error {
	var arguments []*string // so that null is not taken for an empty argument
	if err := json.Unmarshal([]byte(s), &arguments); err != nil {
		return jsonError(err)
	}
	for i, argument := range arguments {
		switch {
		case argument == nil:
			return fmt.Errorf("element %d is null", i)
		case strings.Contains(*argument, "\x00"):
			return fmt.Errorf("element %d has a zero byte", i)
		}
		l.Value = append(l.Value, *argument)
	}
	if len(l.Value) == 0 || l.Value[0] == "" {
		return errors.New("it has no program to run")
	}
	return nil
}

// jsonError gives the place and not the text: encoding/json repeats a part of
// its input.
func jsonError(err error) error {
	switch err := err.(type) {
	case *json.SyntaxError:
		return fmt.Errorf("not JSON, at byte %d", err.Offset)
	case *json.UnmarshalTypeError:
		return fmt.Errorf("not an array of strings, at byte %d", err.Offset)
	}
	return errors.New("not JSON")
}
