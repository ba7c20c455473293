package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// Signalled is a process that gets a signal.
type Signalled struct {
	Of     string         // its name, or the path of its PID file
	Signal syscall.Signal // 0: that of SECRETSYNC_SIGNAL
}

func (p *processes) parse(s string) {
	parseSignalled(&p.value, s, "the name of a process, without a path", func(name string) bool {
		return name != "" && !strings.Contains(name, "/")
	})
}

func (f *pidFiles) parse(s string) {
	parseSignalled(&f.value, s, "an absolute path of a file", isFile)
}

// parseSignalled takes entries of OF or OF:SIGNAL.
func parseSignalled(v *value[[]Signalled], s, what string, valid func(of string) bool) {
	v.list(s, what+", with :SIGNAL if it differs; several are comma-separated", func(entry string) error {
		one, err := splitSignal(entry)
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(v.Value, func(other Signalled) bool { return other.Of == one.Of }):
			return fmt.Errorf("%q is named twice", short(one.Of))
		case !valid(one.Of):
			return errors.New("not " + what)
		}
		v.Value = append(v.Value, one)
		return nil
	})
}

// signalText is what can only be meant for a signal, so that a typo in one is not
// taken for a part of a name.
var signalText = regexp.MustCompile(`^[A-Z0-9+-]+$`)

// splitSignal takes an entry apart. A colon before anything that is no signal, and
// does not look like one, belongs to OF.
func splitSignal(entry string) (Signalled, error) {
	if i := strings.LastIndex(entry, ":"); i >= 0 {
		signal, err := process.ParseSignal(entry[i+1:])
		if err == nil {
			return Signalled{entry[:i], signal}, nil
		}
		if signalText.MatchString(entry[i+1:]) {
			return Signalled{}, err
		}
	}
	return Signalled{Of: entry}, nil
}

// parse repeats no part of a URL, nor do the errors of webhook.ParseURL.
func (u *urls) parse(s string) {
	u.list(s, "http://host/path, https://host/path or unix:///path/to.sock:/url/path", func(entry string) error {
		one, err := webhook.ParseURL(entry)
		if err == nil {
			u.Value = append(u.Value, one)
		}
		return err
	})
}
