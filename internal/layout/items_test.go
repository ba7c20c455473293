package layout_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

var listedCases = []layoutCase{
	{
		name:     "a key alone and in a bundle",
		rules:    "required=db items=db/a>a items=db/b+a>all",
		snapshot: "db: a=1 b=2 c=3", volume: "-",
		want: "db: a=1 all=2\n1\n", complete: true, current: true,
	},
	{
		name:     "an unlisted key is no name of a file",
		rules:    "required=db items=db/a>a",
		snapshot: "db: a=1 ..data=x", volume: "-",
		want: "db: a=1", complete: true, current: true,
	},
	{
		name:     "a key of a bundle is missing",
		rules:    "required=db items=db/a+b>all",
		snapshot: "db: a=1", volume: "db: all=old",
		want: "db: all=old", rejected: "db missing_item", complete: true,
	},
	{
		name:     "a dotenv file with all keys, and no other file",
		rules:    "required=db env=db>db.env",
		snapshot: "db: B=2 A=1 _c3=", volume: "-",
		want: "db: db.env=A='1'\nB='2'\n_c3=''\n", complete: true, current: true,
	},
	{
		name:     "a dotenv file with two keys beside a key",
		rules:    "required=db env=db/B+A>x/db.env items=db/not-a-name>k",
		snapshot: "db: A=1 B=2 not-a-name=3", volume: "-",
		want: "db: k=3 x/db.env=B='2'\nA='1'\n", complete: true, current: true,
	},
	{
		name:     "a key of a dotenv file is missing",
		rules:    "required=db env=db/A+B>db.env",
		snapshot: "db: A=1", volume: "-",
		want: "", rejected: "db missing_item",
		waiting: `the key "B" for the file "db.env" is missing; the Secret contains ["A"]`,
	},
	{
		name:     "a dotenv file without keys",
		rules:    "required=db env=db>db.env",
		snapshot: "db:", volume: "db: db.env=old",
		want: "db: db.env=old", rejected: "db no_keys", complete: true,
	},
	{
		name:     "a required key is empty, but listed for a dotenv file",
		rules:    "required=db env=db>db.env keys=db/A",
		snapshot: "db: A=", volume: "-",
		want: "", rejected: "db empty_key", waiting: `"A" is empty`,
	},
	{
		name:     "flat: two Secrets with a dotenv file of the same path",
		rules:    "flat required=a,b env=a>app.env env=b>app.env",
		snapshot: "a: X=1; b: X=2", volume: "a: app.env=X='1'\n",
		want: "a: app.env=X='1'\n", rejected: "b path_conflict",
	},
}

// only returns the content of the only file of the Secret db, and the rejection.
func only(t *testing.T, rule string, data map[string]string) (content string, rejected []layout.Rejection) {
	t.Helper()
	s := watcher.Secret{UID: "u", ResourceVersion: "1", Data: map[string]secret.Value{}}
	for key, value := range data {
		s.Data[key] = secret.Value(value)
	}
	snapshot := watcher.Snapshot{Secrets: map[string]watcher.Secret{"db": s}}
	result := layout.Make(rules("required=db "+rule), layout.Input{Snapshot: snapshot})
	for _, value := range result.Content.Secrets["db"].Values {
		content += string([]byte(value))
	}
	return content, result.Rejected
}

// TestBundle_newline: a newline follows each key that does not end with a newline, also the
// last key and an empty key.
func TestBundle_newline(t *testing.T) {
	got, _ := only(t, "items=db/a+b+c+d>all", map[string]string{"a": "1\n", "b": "2", "c": "", "d": "3\n\n"})
	if want := "1\n2\n\n3\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got, _ = only(t, "items=db/a>all", map[string]string{"a": "1"})
	if got != "1" {
		t.Errorf("a key alone: got %q, want it unchanged", got)
	}
}

// TestItems_onlyListedKeysCount: a change of a key changes the files if the key is listed
// alone, in a bundle or in a dotenv file, and not otherwise.
func TestItems_onlyListedKeysCount(t *testing.T) {
	for rule, listed := range map[string]string{
		"items=db/a>a": "a", "items=db/a+b>ab": "ab", "env=db/c+a>e": "ac",
		"env=db>e": "abcd", "items=db/b>b env=db/c>e": "bc",
	} {
		const all = "db: a=1 b=1 c=1 d=1"
		before := layout.Make(rules("required=db "+rule), layout.Input{Snapshot: snapshot(all)}).Content
		for _, key := range []string{"a", "b", "c", "d"} {
			now := strings.Replace(all, key+"=1", key+"=2", 1)
			after := layout.Make(rules("required=db "+rule), layout.Input{Snapshot: snapshot(now)}).Content
			changed := !before.Secrets["db"].Equal(after.Secrets["db"])
			if want := strings.Contains(listed, key); changed != want {
				t.Errorf("%s: after a change of %s the files differ: %v, want %v", rule, key, changed, want)
			}
		}
	}
}

const lineLimit = 64 << 10

// TestEnvFile_rejected: a Secret is rejected if a dotenv file cannot represent a variable. The
// detail contains the key, and no value.
func TestEnvFile_rejected(t *testing.T) {
	const canary = "hunter2"
	for _, tt := range []struct{ key, value, problem string }{
		{"db-user", canary, "name is not a valid name of an environment variable"},
		{"1A", canary, "name is not"},
		{"a.b", canary, "name is not"},
		{"A", canary + "'", "single quote"},
		{"A", "\x00" + canary, "a NUL"},
		{"A", canary + "\r\n" + canary, "a carriage return before a newline"},
		{"A", canary + strings.Repeat("x", lineLimit), "a line of 64 KiB"},
		{"A", canary + strings.Repeat("x", lineLimit-len(canary)-len("A=''")), "a line of 64 KiB"},
		{"A", canary + "\n" + strings.Repeat("x", lineLimit), "a line of 64 KiB"},
		{"A", canary + "\n" + strings.Repeat("x", lineLimit-len("'")), "a line of 64 KiB"},
	} {
		content, rejected := only(t, "env=db>db.env", map[string]string{tt.key: tt.value, "OK": "1"})
		if content != "" || len(rejected) != 1 || rejected[0].Reason != layout.ReasonBadVariable {
			t.Fatalf("%s, %s: got %d bytes and %v, want it rejected", tt.key, tt.problem, len(content), rejected)
		}
		detail := rejected[0].Detail
		if !strings.Contains(detail, fmt.Sprintf("%q", tt.key)) || !strings.Contains(detail, tt.problem) ||
			strings.Contains(detail, canary) || len(detail) > 200 {
			t.Errorf("got %q, want %q and the key, but no value", detail, tt.problem)
		}
	}
}

// envValues are values that a dotenv file can represent.
var envValues = map[string]string{
	"EMPTY": "", "SPACES": "  a b  ", "LINES": "\n1\n\n  2\n#3\nX=",
	"SHELL":  "$HOME `id` $(id) \\ \"q\" \\n",
	"RETURN": "a\rb\r", "BINARY": "\x01\xff\x7f", "unicode": "pässwörd", "_1": "#", "COMMENT": " # x",
	"LONG":  strings.Repeat("x", lineLimit-1-len("LONG=''")),
	"LONG2": "\n" + strings.Repeat("x", lineLimit-1) + "\n" + strings.Repeat("x", lineLimit-1-len("'")),
}

// TestEnvFile_shell: a POSIX shell reads each value unchanged.
func TestEnvFile_shell(t *testing.T) {
	content, rejected := only(t, "env=db>db.env", envValues)
	if len(rejected) > 0 {
		t.Fatal(rejected)
	}
	file := filepath.Join(t.TempDir(), "db.env")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range envValues {
		const script = `. "$1"; eval "printf '%s' \"\$$2\""`
		got, err := exec.Command("sh", "-eu", "-c", script, "sh", file, name).CombinedOutput()
		if err != nil || string(got) != want {
			t.Errorf("%s: got %.80q, %v, want %.80q", name, got, err, want)
		}
	}
}
