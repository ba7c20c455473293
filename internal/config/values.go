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
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/notifier/process"
)

func (n *name) parse(s string) {
	valid := isSubdomain(s) && (!n.has("label") || len(validation.IsDNS1123Label(s)) == 0)
	n.set(s, valid, "a name of Kubernetes, such as the downward API gives")
}

func isSubdomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }

func (c *choice) parse(s string) {
	allowed := strings.Split(c.tag.Get("oneof"), ",")
	last := len(allowed) - 1
	c.set(s, slices.Contains(allowed, s), strings.Join(allowed[:last], ", ")+" or "+allowed[last])
}

func (b *boolean) parse(s string) {
	value, err := strconv.ParseBool(s)
	b.set(value, err == nil, "true or false")
}

// maxDuration keeps sums and multiples of durations far from an overflow.
const maxDuration = 365 * 24 * time.Hour

func (d *duration) parse(s string) {
	least, allowed := time.Duration(0), "0s, 1500ms or 2m, not negative"
	if d.has("positive") {
		least, allowed = 1, "1500ms or 2m, more than 0s"
	}
	value, err := time.ParseDuration(s)
	d.set(value, err == nil && value >= least && value <= maxDuration, "a time with its unit such as "+allowed+", at most 8760h")
}

func (o *octal) parse(s string) {
	mode, err := parseMode(s)
	o.set(mode, err == nil, allowedMode)
}

const allowedMode = "an octal number from 0 to 0777, such as 0640"

func parseMode(s string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, errors.New("the mode is not " + allowedMode)
	}
	return fs.FileMode(mode) | 0o400, nil
}

func (d *directory) parse(s string) {
	dir := s[:1] + strings.TrimRight(s[1:], "/")
	d.set(dir, filepath.IsAbs(dir) && dir != "/" && filepath.Clean(dir) == dir,
		"an absolute path without . or .. or //, other than /")
}

func (f *file) parse(s string) {
	f.set(s, isFile(s), "an absolute path of a file")
}

func isFile(s string) bool { return filepath.IsAbs(s) && !strings.HasSuffix(s, "/") }

func (a *address) parse(s string) {
	host, port, err := net.SplitHostPort(s)
	_, portErr := strconv.ParseUint(port, 10, 16)
	ip, ipErr := netip.ParseAddr(host)
	valid := host == "" || ipErr == nil || isSubdomain(strings.ToLower(host))
	allowed := "host:port or :port, such as :29808, or empty for no server"
	if a.has("loopback") {
		valid = host == "localhost" || ip.Unmap().IsLoopback()
		allowed = "a loopback address and a port, such as 127.0.0.1:6060, [::1]:6060 or localhost:6060"
	}
	a.set(s, err == nil && portErr == nil && valid, allowed)
}

func (n *signal) parse(s string) {
	value, err := process.ParseSignal(s)
	n.set(value, err == nil, "a signal's name such as HUP, SIGUSR1 or RTMIN+1, or its number from 1 to 64, but 32 and 33")
}

func (m *method) parse(s string) {
	_, err := http.NewRequest(s, "/", nil)
	m.set(s, err == nil, "an HTTP method such as POST")
}

func (l *jsonList) parse(s string) {
	var err error
	if l.Value, err = parseCommand(s); err != nil {
		l.reject(s, err.Error(), `a JSON array of strings such as ["nginx","-s","reload"]`)
	}
}

func parseCommand(s string) (command []string, err error) {
	var arguments []*string // so that null is not taken for an empty argument
	if err := json.Unmarshal([]byte(s), &arguments); err != nil {
		return nil, jsonError(err)
	}
	for i, argument := range arguments {
		switch {
		case argument == nil:
			return nil, fmt.Errorf("element %d is null", i)
		case strings.Contains(*argument, "\x00"):
			return nil, fmt.Errorf("element %d has a zero byte", i)
		}
		command = append(command, *argument)
	}
	if len(command) == 0 || command[0] == "" {
		return nil, errors.New("it has no program to run")
	}
	return command, nil
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
