package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// Items contains the listed files of Secrets, by Secret. A Secret without an entry gets a file
// for each key.
type Items map[string][]Item

// An Item is a file with a key of a Secret, a bundle of several keys, or a dotenv file.
type Item struct {
	Path string
	Keys []string    // in the order of the file; nil: every key, for a dotenv file
	Env  bool        // whether the file is a dotenv file
	Mode fs.FileMode // 0: the mode of all files
}

// pathAndMode matches a path with a mode: a colon and digits at the end. Any other colon is
// part of the path.
var pathAndMode = regexp.MustCompile(`^(.*):(\d+)$`)

const maxPath = 3584 // PATH_MAX minus DIR and the names of the generation and the Secret

// Add adds an entry of SECRETSYNC_ITEMS, or with env of SECRETSYNC_ENV_FILES: secret/key=path,
// secret/key+key=path or secret/key=path:0600. A dotenv file may omit the slash and the keys.
func (all Items) Add(entry string, env bool) (err error) {
	left, path, ok := strings.Cut(entry, "=") // the path may contain further = and /
	if !ok {
		return errors.New("the = before the path is missing")
	}
	item := Item{Path: strings.TrimSpace(path), Env: env}
	if match := pathAndMode.FindStringSubmatch(item.Path); match != nil {
		item.Path = match[1]
		if item.Mode, err = ParseMode(match[2]); err != nil {
			return fmt.Errorf("the mode %w", err)
		}
	}
	secret, keys, err := ParseKeys(strings.TrimSpace(left))
	item.Keys = keys
	invalid := slices.IndexFunc(keys, func(key string) bool { return env && !isVariable(key) })
	switch {
	case err != nil && !(env && errors.Is(err, errNoKey)):
		return err
	case invalid >= 0:
		return fmt.Errorf("%q is not %s", keys[invalid], variableName)
	case !generation.ValidPath(item.Path) || len(item.Path) > maxPath:
		return fmt.Errorf("the path must be relative, clean and UTF-8, of at most %d bytes; "+
			"no element may begin with two dots or be longer than 255 bytes", maxPath)
	}
	if err := item.checkConflict(all[secret]); err != nil {
		return err
	}
	all[secret] = append(all[secret], item)
	return nil
}

var errNoKey = errors.New("the / between the Secret and the key is missing")

// ParseKeys parses secret/key or secret/key+key.
func ParseKeys(text string) (secret string, keys []string, err error) {
	secret, list, ok := strings.Cut(text, "/")
	if len(validation.IsDNS1123Subdomain(secret)) > 0 {
		return "", nil, fmt.Errorf("%.120q is not a valid name of a Secret", secret)
	}
	if !ok {
		return secret, nil, errNoKey
	}
	for key := range strings.SplitSeq(list, "+") {
		if len(validation.IsConfigMapKey(key)) > 0 {
			return "", nil, fmt.Errorf("%.120q is not a valid key of a Secret", key)
		}
		if slices.Contains(keys, key) {
			return "", nil, fmt.Errorf("the key %q is listed twice", key)
		}
		keys = append(keys, key)
	}
	return secret, keys, nil
}

// checkConflict returns an error if the item cannot exist beside the other items of its Secret.
func (i Item) checkConflict(others []Item) error {
	for _, other := range others {
		switch a, b := other.Path, i.Path; {
		case len(i.Keys) == 1 && !i.Env && !other.Env && slices.Equal(i.Keys, other.Keys):
			return fmt.Errorf("the key already has the path %.120q", a)
		case a == b:
			return errors.New("another file of this Secret has the same path")
		case strings.HasPrefix(b, a+"/") || strings.HasPrefix(a, b+"/"):
			return fmt.Errorf("%.120q and %.120q conflict: a path is a file or a directory", a, b)
		}
	}
	return nil
}

// ParseMode returns a mode with read permission for the owner. It rejects the decimal form of
// a usual mode: the Kubernetes API prints the mode 0400 as 256.
func ParseMode(s string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	decimal, decimalErr := strconv.ParseUint(s, 10, 32)
	switch {
	case decimalErr == nil && s[0] != '0' && isUsual(decimal) && !isUsual(mode):
		return 0, fmt.Errorf("must be octal; did you mean %#o, which is %s as a decimal number?", decimal, s)
	case err != nil || mode > 0o777:
		return 0, errors.New("must be an octal number from 0 to 0777, such as 0640")
	}
	return fs.FileMode(mode) | 0o400, nil
}

// isUsual reports whether in mode the owner can read, nobody can do more than the owner, and
// a group or others with any permission can read.
func isUsual(mode uint64) bool {
	owner, group, other := mode>>6, mode>>3&7, mode&7
	readable := (group == 0 || group&4 != 0) && (other == 0 || other&4 != 0)
	return owner&4 != 0 && owner <= 7 && (group|other)&^owner == 0 && readable
}
