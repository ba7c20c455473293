package layout

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// Items contains the listed files by Secret. A Secret without an entry gets a file for each key.
type Items map[string][]Item

// An Item is a file with a key of a Secret, a bundle of several keys, or a dotenv file.
type Item struct {
	Path string
	Keys []string    // in the order of the file; nil: every key, for a dotenv file
	Env  bool        // whether the file is a dotenv file
	Mode fs.FileMode // 0: the mode of all files
}

// pathAndMode matches a path with a mode. A colon not before final digits is part of the path.
var pathAndMode = regexp.MustCompile(`^(.*):(\d+)$`)

const maxPath = 3584 // PATH_MAX minus DIR and the names of the generation and the Secret

// Add adds an entry of SECRETSYNC_ITEMS, or with env of SECRETSYNC_ENV_FILES: secret/key=path,
// secret/key+key=path or secret/key=path:0600. A dotenv file may omit the slash and the keys.
func (all Items) Add(entry string, env bool) (secret string, err error) {
	left, path, ok := strings.Cut(entry, "=") // the path may contain further = and /
	if !ok {
		return "", errors.New("the = before the path is missing")
	}
	item := Item{Path: strings.TrimSpace(path), Env: env}
	if match := pathAndMode.FindStringSubmatch(item.Path); match != nil {
		item.Path = match[1]
		if item.Mode, err = ParseMode(match[2]); err != nil {
			return "", fmt.Errorf("the mode %w", err)
		}
	}
	secret, item.Keys, err = ParseKeys(strings.TrimSpace(left), env)
	invalid := slices.IndexFunc(item.Keys, func(key string) bool { return env && !isVariable(key) })
	switch {
	case err != nil:
		return "", err
	case invalid >= 0:
		return "", fmt.Errorf("%q is not %s", item.Keys[invalid], variableName)
	case !generation.ValidPath(item.Path) || len(item.Path) > maxPath:
		return "", fmt.Errorf("the path must be relative, clean and UTF-8, of at most %d bytes; "+
			"no element may begin with two dots or be longer than 255 bytes", maxPath)
	}
	if err = item.checkConflict(all[secret]); err == nil {
		all[secret] = append(all[secret], item)
	}
	return secret, err
}

// ParseKeys parses secret/key or secret/key+key, or with optional also a secret without keys.
func ParseKeys(text string, optional bool) (secret string, keys []string, err error) {
	secret, list, ok := strings.Cut(text, "/")
	if len(validation.IsDNS1123Subdomain(secret)) > 0 {
		return "", nil, fmt.Errorf("%.120q is not a valid name of a Secret", secret)
	}
	if !ok && optional {
		return secret, nil, nil
	} else if !ok {
		return "", nil, errors.New("the / between the Secret and the key is missing")
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

// usual matches a mode in which the owner can read, nobody can do more than the owner, and a
// group or others with any permission can read. In 504, others could do more than the group: it
// is 0770 as a decimal number. 500 is more likely 0500 than 0764.
var usual = regexp.MustCompile(`^(4[04]{2}|5(00|[45][045])|6[046]{2}|7[04-7]{2})$`)

// ParseMode returns a mode with read permission for the owner. It rejects the decimal form of
// a usual mode: the Kubernetes API prints the mode 0400 as 256.
func ParseMode(s string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	decimal, _ := strconv.ParseUint(s, 10, 32)
	if octal := fmt.Sprintf("%o", decimal); s[0] != '0' && usual.MatchString(octal) && !usual.MatchString(s) {
		return 0, fmt.Errorf("must be octal; did you mean 0%s, which is %s as a decimal number?", octal, s)
	}
	if err != nil || mode > 0o777 {
		return 0, errors.New("must be an octal number from 0 to 0777, such as 0640")
	}
	return fs.FileMode(mode) | 0o400, nil
}

// files returns the files of a Secret, or the reason to reject the Secret.
func (r Rules) files(name string, s watcher.Secret) (files generation.Files, rejection *Rejection) {
	files = generation.Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Values: s.Data}
	items := r.Items[name]
	if items != nil {
		files.Values, files.Modes = map[string]secret.Value{}, map[string]fs.FileMode{}
	}
	rejection = r.check(name, s.Data)
	for i := 0; rejection == nil && i < len(items); i++ {
		file := items[i].Path
		files.Values[file], rejection = items[i].content(s.Data)
		if items[i].Mode != 0 {
			files.Modes[file] = items[i].Mode
		}
	}
	return files, rejection
}

// check returns the reason to reject a Secret regardless of its items, or nil.
func (r Rules) check(name string, data map[string]secret.Value) *Rejection {
	if !isFileName(name) {
		return reject(ReasonBadName, "its name cannot be the name of a directory")
	}
	for _, key := range r.RequiredKeys[name] {
		if value, ok := data[key]; !ok {
			return missing(ReasonMissingKey, fmt.Sprintf("required key %q", key), data)
		} else if len(value) == 0 {
			return reject(ReasonEmptyKey, "the required key %q is empty", key)
		}
	}
	if len(data) == 0 {
		return reject(ReasonNoKeys, "the Secret contains no keys")
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if r.Items[name] == nil && !isFileName(key) {
			return reject(ReasonBadName, "the key %q cannot be the name of a file", key)
		}
	}
	return nil
}

// content returns the content of a file: a single key, or the listed keys one after the other.
// In a bundle, a newline follows a key that does not end with a newline. In a dotenv file, a
// variable is NAME='value', as the kubelet (fileKeyRef) and a POSIX shell read it.
func (i Item) content(data map[string]secret.Value) (content secret.Value, _ *Rejection) {
	keys := i.Keys
	if keys == nil {
		keys = slices.Sorted(maps.Keys(data))
	}
	for _, key := range keys {
		value, ok := data[key]
		switch {
		case !ok:
			return nil, missing(ReasonMissingItem, fmt.Sprintf("key %q for the file %q", key, i.Path), data)
		case i.Env:
			line := slices.Concat(secret.Value(key+"='"), value, secret.Value("'\n"))
			if problem := envProblem(key, value, line); problem != "" {
				return nil, reject(ReasonBadVariable, "the key %q cannot be in %q: its %s", key, i.Path, problem)
			}
			content = append(content, line...)
		case len(keys) == 1:
			return value, nil
		default:
			content = append(append(content, bytes.TrimSuffix(value, []byte("\n"))...), '\n')
		}
	}
	return content, nil
}

// isVariable reports whether a POSIX shell accepts the name of a variable.
var isVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString

const variableName = "a valid name of an environment variable: letters, digits and _, no digit first"

// envProblem returns the reason why a dotenv file cannot contain a variable, or "". The kubelet
// drops a carriage return before a newline, and cannot read a line of 64 KiB.
func envProblem(name string, value, line []byte) string {
	tooLong := func(part []byte) bool { return len(part) > bufio.MaxScanTokenSize }
	switch {
	case !isVariable(name):
		return "name is not " + variableName
	case bytes.ContainsAny(value, "'"):
		return "value contains a single quote"
	case bytes.ContainsAny(value, "\x00"):
		return "value contains a NUL"
	case bytes.Contains(value, []byte("\r\n")):
		return "value contains a carriage return before a newline"
	case slices.ContainsFunc(bytes.SplitAfter(line, []byte("\n")), tooLong):
		return "value contains a line of 64 KiB"
	}
	return ""
}

func reject(reason, format string, args ...any) *Rejection {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// missing returns the rejection of a Secret without the key.
func missing(reason, key string, data map[string]secret.Value) *Rejection {
	return reject(reason, "the %s is missing; the Secret contains %q", key, brief.List(slices.Sorted(maps.Keys(data))))
}

// isFileName reports whether s can be an element of a path and is no name of secret-sync's own
// entries. The API server checks names too, but a proxy can answer in its place.
func isFileName(s string) bool {
	return generation.ValidPath(s) && !strings.Contains(s, "/") && len(s) <= 253
}
