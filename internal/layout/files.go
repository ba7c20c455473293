package layout

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/brief"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

// files returns the files of a Secret, or the reason to reject the Secret.
func (r Rules) files(name string, s watcher.Secret) (writer.Files, *Rejection) {
	files := writer.Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Values: s.Data}
	rejection := r.check(name, s.Data)
	items, listed := r.Items[name]
	if listed {
		files.Values, files.Modes = map[string]secret.Value{}, map[string]fs.FileMode{}
	}
	for _, item := range items {
		if rejection != nil {
			break
		}
		files.Values[item.Path], rejection = item.content(s.Data)
		if item.Mode != 0 {
			files.Modes[item.Path] = item.Mode
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
	_, listed := r.Items[name]
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if !listed && !isFileName(key) {
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
		case bytes.HasSuffix(value, []byte("\n")):
			content = append(content, value...)
		default:
			content = slices.Concat(content, value, secret.Value("\n"))
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
	tooLong := false
	for part := range bytes.Lines(line) {
		tooLong = tooLong || len(part) > bufio.MaxScanTokenSize
	}
	switch {
	case !isVariable(name):
		return "name is not " + variableName
	case bytes.ContainsAny(value, "'"):
		return "value contains a single quote"
	case bytes.ContainsAny(value, "\x00"):
		return "value contains a NUL"
	case bytes.Contains(value, []byte("\r\n")):
		return "value contains a carriage return before a newline"
	case tooLong:
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
	return fs.ValidPath(s) && s != "." && !strings.HasPrefix(s, "..") && !strings.Contains(s, "/") && len(s) <= 253
}
