package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// eachEntry calls add for each entry of a comma-separated list, once for equal entries, and
// records errors of add as problems. White space around an entry and a comma at the end are
// ignored.
func eachEntry(p *problems, name string, entries list, allowed string, add func(entry string) error) {
	trimmed := strings.TrimSpace(string(entries))
	if trimmed == "" {
		return
	}
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(trimmed, ","), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			p.invalid(name, trimmed, errors.New("an entry is empty; must be "+allowed))
		} else if !seen[entry] {
			if err := add(entry); err != nil {
				p.invalid(name, entry, fmt.Errorf("%w; must be %s", err, allowed))
			}
		}
		seen[entry] = true
	}
}

func parseNames(p *problems, name string, entries list) (secrets []string) {
	eachEntry(p, name, entries, "names of Secrets, comma-separated", func(entry string) error {
		if !isSubdomain(entry) {
			return errors.New("not a valid name of a Secret (a-z, 0-9, - and ., at most 253 characters)")
		}
		secrets = append(secrets, entry)
		return nil
	})
	return secrets
}

func parseKeys(p *problems, name string, entries list) map[string][]string {
	required := map[string][]string{}
	eachEntry(p, name, entries, "secret/key, comma-separated", func(entry string) error {
		secret, key, err := splitKey(entry)
		if err == nil {
			required[secret] = append(required[secret], key)
		}
		return err
	})
	return required
}

// splitKey splits secret/key.
func splitKey(entry string) (secret, key string, err error) {
	secret, key, ok := strings.Cut(entry, "/")
	switch {
	case !ok:
		err = errors.New("the / between the Secret and the key is missing")
	case !isSubdomain(secret):
		err = fmt.Errorf("%q is not a valid name of a Secret", shorten(secret))
	case len(validation.IsConfigMapKey(key)) > 0:
		err = fmt.Errorf("%q is not a valid key of a Secret", shorten(key))
	}
	return secret, key, err
}

func parseItems(p *problems, name string, entries list) layout.Items {
	all := layout.Items{}
	eachEntry(p, name, entries, "secret/key=path or secret/key=path:0600, comma-separated", func(entry string) error {
		left, path, ok := strings.Cut(entry, "=") // the path may contain further = and /
		if !ok {
			return errors.New("the = before the path is missing")
		}
		secret, key, err := splitKey(strings.TrimSpace(left))
		if err != nil {
			return err
		}
		item, err := parseItem(strings.TrimSpace(path))
		if err != nil {
			return err
		}
		if all[secret] == nil {
			all[secret] = map[string]layout.Item{}
		}
		err = checkConflict(all[secret], key, item.Path)
		if err == nil {
			all[secret][key] = item
		}
		return err
	})
	return all
}

// pathAndMode matches an item with a mode: a colon and digits at the end. Any other colon is
// part of the path.
var pathAndMode = regexp.MustCompile(`^(.*):(\d+)$`)

const maxItemPath = 3584 // PATH_MAX minus DIR and the names of the generation and the Secret

func parseItem(path string) (layout.Item, error) {
	mode := fs.FileMode(0)
	if match := pathAndMode.FindStringSubmatch(path); match != nil {
		var err error
		if mode, err = parseMode(match[2]); err != nil {
			return layout.Item{}, fmt.Errorf("the mode %w", err)
		}
		path = match[1]
	}
	if !generation.ValidPath(path) || len(path) > maxItemPath {
		return layout.Item{}, fmt.Errorf("the path must be relative, clean and UTF-8, of at most %d bytes; "+
			"no element may begin with two dots or be longer than 255 bytes", maxItemPath)
	}
	return layout.Item{Path: path, Mode: mode}, nil
}

// checkConflict returns an error if a key cannot have this path beside the other keys of
// its Secret.
func checkConflict(others map[string]layout.Item, key, path string) error {
	if other, taken := others[key]; taken {
		return fmt.Errorf("the key already has the path %q", shorten(other.Path))
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		other := others[name].Path
		if other == path {
			return errors.New("another key of this Secret has the same path")
		}
		if strings.HasPrefix(path, other+"/") || strings.HasPrefix(other, path+"/") {
			return fmt.Errorf("%q and %q conflict: a path is a file or a directory", shorten(other), shorten(path))
		}
	}
	return nil
}

// parseTargets splits entries of the form PROCESS or PROCESS:SIGNAL. A target without a
// signal of its own uses the standard signal.
func parseTargets(
	p *problems, name string, entries list, standard syscall.Signal, allowed string, valid func(process string) bool,
) (targets []SignalTarget) {
	allowed += ", each with :SIGNAL if it differs, comma-separated"
	eachEntry(p, name, entries, allowed, func(entry string) error {
		of, signal, err := process.ParseTarget(entry, standard)
		switch {
		case err != nil:
			return err
		case !valid(of):
			return errors.New("not a valid entry")
		case slices.ContainsFunc(targets, func(other SignalTarget) bool { return other.Process == of }):
			return fmt.Errorf("%q is listed twice", shorten(of))
		}
		targets = append(targets, SignalTarget{of, signal})
		return nil
	})
	return targets
}

func isProcessName(s string) bool { return s != "" && !strings.Contains(s, "/") }

// parseURLs puts no part of a URL into an error, and neither does webhook.ParseURL.
func parseURLs(p *problems, name string, entries list) (urls []*webhook.URL) {
	const allowed = "http://host/path, https://host/path or unix:///path/to.sock:/url/path"
	eachEntry(p, name, entries, allowed, func(entry string) error {
		url, err := webhook.ParseURL(entry)
		if err == nil {
			urls = append(urls, url)
		}
		return err
	})
	return urls
}
