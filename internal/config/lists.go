package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	slashpath "path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	allowedNames    = "names of Secrets, comma-separated"
	allowedItems    = "secret/key=path or secret/key=path:0600, comma-separated"
	allowedKeys     = "secret/key, comma-separated"
	allowedSelector = "a label selector such as app=db,tier in (a, b)"
)

// list calls add for each entry of a comma-separated list and rejects those
// that add returns an error for. White space around an entry does not count, nor
// does a comma at the end of the list.
func (v *variable) list(s, allowed string, add func(entry string) error) {
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(s, ","), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			v.reject(s, "an entry is empty", allowed)
		} else if !seen[entry] {
			if err := add(entry); err != nil {
				v.reject(entry, err.Error(), allowed)
			}
		}
		seen[entry] = true
	}
}

func (n *names) parse(s string) {
	n.list(s, allowedNames, func(entry string) error {
		if !isSubdomain(entry) {
			return errors.New("not a name that a Secret can have (a-z, 0-9, - and ., at most 253)")
		}
		n.Value = append(n.Value, entry)
		return nil
	})
}

func (l *selector) parse(s string) {
	l.Value = s
	parsed, err := labels.Parse(s)
	if err != nil {
		l.reject(s, strconv.Quote(err.Error()), allowedSelector) // it repeats a part of s
	} else if parsed.Empty() {
		l.reject(s, "it selects every Secret", allowedSelector)
	}
}

func (k *keys) parse(s string) {
	k.Value = map[string][]string{}
	k.list(s, allowedKeys, func(entry string) error {
		secret, key, err := parseKey(entry)
		if err == nil {
			k.Value[secret] = append(k.Value[secret], key)
		}
		return err
	})
}

// parseKey takes secret/key apart.
func parseKey(entry string) (secret, key string, err error) {
	secret, key, ok := strings.Cut(entry, "/")
	switch {
	case !ok:
		err = errors.New("no / between the Secret and the key")
	case !isSubdomain(secret):
		err = fmt.Errorf("%q is not a name that a Secret can have", short(secret))
	case len(validation.IsConfigMapKey(key)) > 0:
		err = fmt.Errorf("%q is not a key that a Secret can have", short(key))
	}
	return secret, key, err
}

func (i *items) parse(s string) {
	i.Value, i.Modes = map[string]map[string]string{}, map[string]map[string]fs.FileMode{}
	i.list(s, allowedItems, i.add)
}

// itemMode ends an entry that has a mode: a colon and digits. Another colon
// belongs to the path.
var itemMode = regexp.MustCompile(`^(.*):(\d+)$`)

// add takes secret/key=path or secret/key=path:mode. The path may hold any
// further = and /.
func (i *items) add(entry string) error {
	left, path, ok := strings.Cut(entry, "=")
	if !ok {
		return errors.New("no = before the path")
	}
	secret, key, err := parseKey(strings.TrimSpace(left))
	if err != nil {
		return err
	}
	path = strings.TrimSpace(path)
	if match := itemMode.FindStringSubmatch(path); match != nil {
		mode, err := parseMode(match[2])
		if err != nil {
			return err
		}
		path = match[1]
		put(i.Modes, secret, path, mode)
	}
	err = cmp.Or(checkPath(path), checkConflict(i.Value[secret], key, path))
	if err == nil {
		put(i.Value, secret, key, path)
	}
	return err
}

func put[V any](all map[string]map[string]V, secret, key string, value V) {
	if all[secret] == nil {
		all[secret] = map[string]V{}
	}
	all[secret][key] = value
}

const maxItemPath = 3584 // PATH_MAX less DIR, the generation's name and the Secret's

// checkPath returns why a path has no place below a Secret's directory.
func checkPath(path string) error {
	long := func(element string) bool { return len(element) > 255 } // NAME_MAX
	for _, rule := range []struct {
		broken  bool
		problem string
	}{
		{path == "", "the path is empty"},
		{slashpath.IsAbs(path), "the path is not relative"},
		{path == "." || slashpath.Clean(path) != path, "the path has a needless . or /"},
		{len(path) > maxItemPath, fmt.Sprintf("the path is longer than %d bytes", maxItemPath)},
		{!utf8.ValidString(path), "the path is not UTF-8"}, // the JSON records could not name it
		{strings.Contains("/"+path, "/.."), "an element of the path begins with two dots"},
		{slices.ContainsFunc(strings.Split(path, "/"), long), "an element of the path is longer than 255 bytes"},
	} {
		if rule.broken {
			return errors.New(rule.problem)
		}
	}
	return nil
}

// checkConflict returns why a key's file cannot be beside those of the other
// keys of its Secret.
func checkConflict(others map[string]string, key, path string) error {
	if other, taken := others[key]; taken {
		return fmt.Errorf("the key is at %q already", short(other))
	}
	for _, other := range slices.Sorted(maps.Values(others)) {
		if other == path {
			return errors.New("another key of this Secret has the same path")
		}
		if strings.HasPrefix(path, other+"/") || strings.HasPrefix(other, path+"/") {
			return fmt.Errorf("one of the paths %q and %q is a directory of the other", short(other), short(path))
		}
	}
	return nil
}
