package config

import (
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

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/notifier/exec"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// The functions below convert the text of a variable. Some return a value together with an
// error, because Load returns invalid values too.

// must returns an error with the allowed values unless ok.
func must(ok bool, allowed string) error {
	if ok {
		return nil
	}
	return errors.New("must be " + allowed)
}

func isSubdomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }

func parseName(s string) (string, error) {
	return s, must(isSubdomain(s), "a Kubernetes name, as the downward API provides it")
}

func parseNamespace(s string) (string, error) {
	return s, must(len(validation.IsDNS1123Label(s)) == 0, "a namespace, as the downward API provides it")
}

// oneOf returns a conversion for the given choices only.
func oneOf(choices ...string) func(string) (string, error) {
	last := len(choices) - 1
	return func(s string) (string, error) {
		return s, must(slices.Contains(choices, s), strings.Join(choices[:last], ", ")+" or "+choices[last])
	}
}

func parseLayout(s string) (layout generation.Layout, err error) {
	err = layout.UnmarshalText([]byte(s))
	return layout, must(err == nil, "nested or flat")
}

func parseBool(s string) (bool, error) {
	value, err := strconv.ParseBool(s)
	return value, must(err == nil, "true or false")
}

// maxDuration keeps sums and multiples of durations far from an overflow.
const maxDuration = 365 * 24 * time.Hour

func parseDuration(s string) (time.Duration, error) {
	value, err := time.ParseDuration(s)
	return value, must(err == nil && value >= 0 && value <= maxDuration,
		"a time with its unit, such as 0s, 1500ms or 2m, from 0s to 8760h")
}

func parseTimeout(s string) (time.Duration, error) {
	value, err := parseDuration(s)
	return value, must(err == nil && value > 0, "a time with its unit, such as 1500ms or 2m, above 0s, at most 8760h")
}

// parseMode returns a mode with read permission for the owner. It rejects the decimal form of
// a usual mode: the Kubernetes API prints the mode 0400 as 256.
func parseMode(s string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if decimal, err := strconv.ParseUint(s, 10, 32); err == nil && s[0] != '0' && isUsual(decimal) && !isUsual(mode) {
		return 0, fmt.Errorf("must be octal; did you mean %#o, which is %s as a decimal number?", decimal, s)
	}
	return fs.FileMode(mode) | 0o400, must(err == nil && mode <= 0o777, "an octal number from 0 to 0777, such as 0640")
}

// isUsual reports whether in mode the owner can read, nobody can do more than the owner, and
// a group or others with any permission can read.
func isUsual(mode uint64) bool {
	owner, group, other := mode>>6, mode>>3&7, mode&7
	readable := (group == 0 || group&4 != 0) && (other == 0 || other&4 != 0)
	return owner&4 != 0 && owner <= 7 && (group|other)&^owner == 0 && readable
}

func parseDirectory(s string) (string, error) {
	dir := s[:1] + strings.TrimRight(s[1:], "/")
	return dir, must(filepath.IsAbs(dir) && dir != "/" && filepath.Clean(dir) == dir,
		"an absolute path without . or .. or //, other than /")
}

func parseFile(s string) (string, error) { return s, must(isFile(s), "the absolute path of a file") }

func isFile(s string) bool { return filepath.IsAbs(s) && !strings.HasSuffix(s, "/") }

func parseAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	_, portErr := strconv.ParseUint(port, 10, 16)
	_, ipErr := netip.ParseAddr(host)
	valid := host == "" || ipErr == nil || isSubdomain(strings.ToLower(host))
	return s, must(err == nil && portErr == nil && valid, "host:port or :port, such as :29808, or empty for no server")
}

func parseSignal(s string) (syscall.Signal, error) {
	value, err := process.ParseSignal(s)
	return value, must(err == nil, "a signal such as HUP, SIGUSR1 or RTMIN+1, or a number from 1 to 64 except 32 and 33")
}

func parseMethod(s string) (string, error) {
	_, err := http.NewRequest(s, "/", nil)
	return s, must(err == nil, "an HTTP method, such as POST")
}

func parseSelector(s string) (string, error) {
	const allowed = "must be a label selector, such as app=db,tier in (a, b)"
	parsed, err := labels.Parse(s)
	if err != nil {
		return s, fmt.Errorf("%q; %s", err, allowed) // quoted: err contains a part of s
	}
	if parsed.Empty() {
		return s, errors.New("it selects every Secret; " + allowed)
	}
	return s, nil
}

func parseCommand(s string) ([]string, error) {
	command, err := exec.ParseCommand(s)
	if err != nil {
		return nil, fmt.Errorf(`%w; must be a JSON array of strings, such as ["nginx","-s","reload"]`, err)
	}
	return command, nil
}
