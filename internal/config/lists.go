package config

import (
	"fmt"
	"maps"
	slashpath "path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	mayName  = "names of Secrets, comma-separated"
	mayItems = "secret/key=path, comma-separated"
	mayKeys  = "secret/key, comma-separated"

	longestPath    = 4096 // PATH_MAX
	longestElement = 255  // NAME_MAX
)

// list gives the entries of a comma-separated list without white space around
// them. An empty one is a mistake, but for the comma that ends a list.
func (r *reader) list(variable, may string) []string {
	value := strings.TrimSpace(strings.TrimSuffix(r.get(variable), ","))
	if value == "" && r.get(variable) == "" {
		return nil
	}
	var entries []string
	for entry := range strings.SplitSeq(value, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			r.wrong(variable, r.get(variable), "an entry is empty", may)
			continue
		}
		if !slices.Contains(entries, entry) {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (r *reader) names(variable string) []string {
	var valid []string
	for _, entry := range r.list(variable, mayName) {
		if !isSubdomain(entry) {
			r.wrong(variable, entry, "not a name that a Secret can have (a-z, 0-9, - and ., at most 253)", mayName)
			continue
		}
		valid = append(valid, entry)
	}
	return valid
}

func (r *reader) selector(variable string) string {
	const may = "a label selector such as app=db,tier in (a, b)"
	value := r.get(variable)
	if value == "" {
		return ""
	}
	parsed, err := labels.Parse(value)
	if err != nil {
		r.wrong(variable, value, oneLine(err.Error()), may)
	} else if parsed.Empty() {
		r.wrong(variable, value, "it selects every Secret", may)
	}
	return value
}

// oneLine makes the text of an error of another package fit for a mistake.
func oneLine(s string) string {
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	return strings.Join(strings.Fields(printable), " ")
}

func (r *reader) items(variable string) map[string]map[string]string {
	items := make(map[string]map[string]string)
	for _, entry := range r.list(variable, mayItems) {
		secret, key, file, err := parseItem(entry)
		if err == nil {
			err = fits(items[secret], key, file)
		}
		if err != nil {
			r.wrong(variable, entry, err.Error(), mayItems)
			continue
		}
		if items[secret] == nil {
			items[secret] = make(map[string]string)
		}
		items[secret][key] = file
	}
	return items
}

// parseItem takes secret/key=path apart. A path may hold any further = and /.
func parseItem(entry string) (secret, key, file string, err error) {
	left, file, ok := strings.Cut(entry, "=")
	if !ok {
		return "", "", "", fmt.Errorf("no = before the path")
	}
	if secret, key, err = parseKey(strings.TrimSpace(left)); err != nil {
		return "", "", "", err
	}
	file = strings.TrimSpace(file)
	return secret, key, file, checkPath(file)
}

// parseKey takes secret/key apart.
func parseKey(entry string) (secret, key string, err error) {
	secret, key, ok := strings.Cut(entry, "/")
	switch {
	case !ok:
		return "", "", fmt.Errorf("no / between the Secret and the key")
	case !isSubdomain(secret):
		return "", "", fmt.Errorf("%s is not a name that a Secret can have", quote(secret))
	case len(validation.IsConfigMapKey(key)) > 0:
		return "", "", fmt.Errorf("%s is not a key that a Secret can have", quote(key))
	}
	return secret, key, nil
}

// checkPath says what keeps a path from a place below a Secret's directory.
func checkPath(file string) error {
	switch {
	case file == "":
		return fmt.Errorf("the path is empty")
	case slashpath.IsAbs(file):
		return fmt.Errorf("the path is not relative")
	case file == "." || slashpath.Clean(file) != file:
		return fmt.Errorf("the path has a needless . or /")
	case len(file) > longestPath:
		return fmt.Errorf("the path is longer than %d bytes", longestPath)
	case !utf8.ValidString(file):
		return fmt.Errorf("the path is not UTF-8") // the JSON records could not name it
	}
	for element := range strings.SplitSeq(file, "/") {
		if strings.HasPrefix(element, "..") {
			return fmt.Errorf("an element of the path begins with two dots")
		}
		if len(element) > longestElement {
			return fmt.Errorf("an element of the path is longer than %d bytes", longestElement)
		}
	}
	return nil
}

// fits says what keeps a key's file from being laid out beside those of the
// other keys of its Secret.
func fits(others map[string]string, key, file string) error {
	if other, taken := others[key]; taken {
		return fmt.Errorf("the key is at %s already", quote(other))
	}
	for _, other := range slices.Sorted(maps.Values(others)) {
		switch {
		case other == file:
			return fmt.Errorf("another key of this Secret has the same path")
		case strings.HasPrefix(file, other+"/"), strings.HasPrefix(other, file+"/"):
			return fmt.Errorf("one of the paths %s and %s is a directory of the other", quote(other), quote(file))
		}
	}
	return nil
}

func (r *reader) requiredKeys(variable string) map[string][]string {
	required := make(map[string][]string)
	for _, entry := range r.list(variable, mayKeys) {
		secret, key, err := parseKey(entry)
		if err != nil {
			r.wrong(variable, entry, err.Error(), mayKeys)
			continue
		}
		required[secret] = append(required[secret], key)
	}
	return required
}
