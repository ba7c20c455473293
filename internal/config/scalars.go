package config

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

func isSubdomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
func isLabel(s string) bool     { return len(validation.IsDNS1123Label(s)) == 0 }

// namespace must be set; the mistake has the YAML that does it.
func (r *reader) namespace() string {
	if r.get(podNamespace) == "" {
		r.missing(podNamespace, "is not set", "the Pod's namespace", "metadata.namespace")
		return ""
	}
	return r.name(podNamespace, isLabel)
}

// missing records that a variable that the downward API gives is not set.
func (r *reader) missing(variable, problem, may, field string) {
	r.mistakes = append(r.mistakes, Mistake{Variable: variable, Problem: problem, May: may, field: field})
}

func (r *reader) name(variable string, valid func(string) bool) string {
	value := r.get(variable)
	if value != "" && !valid(value) {
		r.wrong(variable, value, "", "a name of Kubernetes, such as the downward API gives")
	}
	return value
}

// choice gives the index of the value among those allowed, the first one for a
// mistake.
func (r *reader) choice(variable string, allowed ...string) int {
	i := slices.Index(allowed, r.get(variable))
	if i < 0 {
		last := len(allowed) - 1
		r.wrong(variable, r.get(variable), "", strings.Join(allowed[:last], ", ")+" or "+allowed[last])
		return 0
	}
	return i
}

func (r *reader) bool(variable string) bool {
	b, err := strconv.ParseBool(r.get(variable))
	if err != nil {
		r.wrong(variable, r.get(variable), "", "true or false")
	}
	return b
}

// longest keeps sums and multiples of durations (the settle time is waited for
// up to ten times) far from an overflow.
const longest = 365 * 24 * time.Hour

// duration may be 0.
func (r *reader) duration(variable string) time.Duration {
	d, err := time.ParseDuration(r.get(variable))
	if err != nil || d < 0 || d > longest {
		r.wrong(variable, r.get(variable), "", "a time with its unit such as 0s, 1500ms or 2m, not negative, at most 8760h")
	}
	return d
}

// timeout may not be 0: nothing could ever be done in time.
func (r *reader) timeout(variable string) time.Duration {
	d, err := time.ParseDuration(r.get(variable))
	if err != nil || d <= 0 || d > longest {
		r.wrong(variable, r.get(variable), "", "a time with its unit such as 1500ms or 2m, more than 0s, at most 8760h")
	}
	return d
}

// mode takes an octal number with or without a leading 0 or 0o, and adds the
// owner's right to read.
func (r *reader) mode(variable string) fs.FileMode {
	mode, err := strconv.ParseUint(strings.TrimPrefix(r.get(variable), "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		r.wrong(variable, r.get(variable), "", "an octal number from 0 to 0777, such as 0640")
	}
	return fs.FileMode(mode) | 0o400
}

func (r *reader) dir(variable string) string {
	dir := trimSlashes(r.get(variable))
	if !filepath.IsAbs(dir) || dir == "/" || filepath.Clean(dir) != dir {
		r.wrong(variable, r.get(variable), "", "an absolute path without . or .. or //, other than /")
	}
	return dir
}

const mayFile = "an absolute path of a file"

func (r *reader) file(variable string) string {
	file := r.get(variable)
	if file != "" && !isFile(file) {
		r.wrong(variable, file, "", mayFile)
	}
	return file
}

// hiddenFile does not repeat what is not a path: it is the token or the
// certificate itself, where its file should be.
func (r *reader) hiddenFile(variable string) string {
	file := r.get(variable)
	if file != "" && !isFile(file) {
		r.hidden(variable, "holds what is not an absolute path (not shown)", mayFile)
	}
	return file
}

func isFile(file string) bool { return filepath.IsAbs(file) && !strings.HasSuffix(file, "/") }

// process is compared with names that have no slash.
func (r *reader) process(variable string) string {
	value := r.get(variable)
	if strings.Contains(value, "/") {
		r.wrong(variable, value, "", "the name of a process, without a path")
	}
	return value
}

func (r *reader) httpAddr() string {
	value := r.get(httpAddr)
	if value == "" {
		return ""
	}
	host, err := splitAddress(value)
	if err != nil || host != "" && !isIP(host) && !isSubdomain(strings.ToLower(host)) {
		r.wrong(httpAddr, value, "", "host:port or :port, such as :29808, or nothing for no server")
	}
	return value
}

func (r *reader) pprofAddr(variable string) string {
	value := r.get(variable)
	if value == "" {
		return ""
	}
	host, err := splitAddress(value)
	addr, _ := netip.ParseAddr(host)
	if err != nil || host != "localhost" && !addr.Unmap().IsLoopback() {
		r.wrong(variable, value, "", "a loopback address and a port, such as 127.0.0.1:6060, [::1]:6060 or localhost:6060")
	}
	return value
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// splitAddress gives the host of host:port. A port is a number; 0 takes a free
// one.
func splitAddress(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("port of %q: %w", address, err)
	}
	return host, nil
}
