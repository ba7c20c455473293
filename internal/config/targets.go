package config

import (
	"errors"
	"fmt"
	neturl "net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	target "github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// Signalled is a process that gets a signal.
type Signalled struct {
	Of     string         // its name, or the path of its PID file
	Signal syscall.Signal // 0: that of SECRETSYNC_SIGNAL
}

// signalText is what can only be meant for a signal, so that a typo in one is not
// taken for a part of a name.
var signalText = regexp.MustCompile(`^[A-Z0-9+-]+$`)

// add takes OF or OF:SIGNAL. A colon before anything that is no signal, and does
// not look like one, belongs to OF.
func add(all *[]Signalled, entry string, check func(of string) error) error {
	one := Signalled{Of: entry}
	if i := strings.LastIndex(entry, ":"); i >= 0 {
		signal, err := target.ParseSignal(entry[i+1:])
		if err == nil {
			one = Signalled{entry[:i], signal}
		} else if signalText.MatchString(entry[i+1:]) {
			return fmt.Errorf("%s is no signal", quote(entry[i+1:]))
		}
	}
	for _, other := range *all {
		if other.Of == one.Of {
			return fmt.Errorf("%s is named twice", quote(one.Of))
		}
	}
	if err := check(one.Of); err != nil {
		return err
	}
	*all = append(*all, one)
	return nil
}

// processes are names to compare with others that have no slash.
type processes struct{ value[[]Signalled] }

func (p *processes) parse(s string) {
	p.list(s, "names of processes without a path, each with :SIGNAL if it differs, comma-separated", func(entry string) error {
		return add(&p.Value, entry, func(name string) error {
			if name == "" || strings.Contains(name, "/") {
				return errors.New("not the name of a process")
			}
			return nil
		})
	})
}

// pidFiles are absolute paths of files.
type pidFiles struct{ value[[]Signalled] }

func (f *pidFiles) parse(s string) {
	f.list(s, "absolute paths of files, each with :SIGNAL if it differs, comma-separated", func(entry string) error {
		return add(&f.Value, entry, func(path string) error {
			if !filepath.IsAbs(path) || strings.HasSuffix(path, "/") {
				return errors.New("not an absolute path of a file")
			}
			return nil
		})
	})
}

// urls are where webhooks call.
type urls struct{ value[[]string] }

// parse repeats no part of a URL: the errors of net/url do, and those of
// webhook.ParseURL do not.
func (u *urls) parse(s string) {
	u.list(s, "http://host/path, https://host/path or unix:///path/to.sock:/url/path", func(entry string) error {
		_, err := webhook.ParseURL(entry)
		if parsed, _ := neturl.Parse(entry); err == nil && parsed != nil && !validPort(parsed.Port()) {
			err = errors.New("its port is not a number from 1 to 65535")
		}
		u.Value = append(u.Value, entry)
		return err
	})
}

// validPort accepts no port, too.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}
