package atomicwriter

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/kubernetes/pkg/kubelet/util/env"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
)

// envFile writes a dotenv file with all keys of a Secret, and returns its path. ok is false if
// the Secret is rejected.
func envFile(t *testing.T, data map[string]secret.Value) (path string, ok bool) {
	t.Helper()
	items := layout.Items{}
	if _, err := items.Add("db=db.env", true); err != nil {
		t.Fatal(err)
	}
	result := layout.Make(layout.Rules{Required: []string{"db"}, Items: items}, layout.Input{
		Snapshot: watcher.Snapshot{Secrets: map[string]watcher.Secret{
			"db": {UID: "u", ResourceVersion: "1", Data: data},
		}},
	})
	if len(result.Rejected) > 0 {
		return "", false
	}
	path = filepath.Join(t.TempDir(), "db.env")
	if err := os.WriteFile(path, result.Content.Secrets["db"].Values["db.env"], 0o600); err != nil {
		t.Fatal(err)
	}
	return path, true
}

// rendered writes a dotenv file without any check.
func rendered(t *testing.T, data map[string]secret.Value) string {
	t.Helper()
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(&text, "%s='%s'\n", key, []byte(data[key]))
	}
	path := filepath.Join(t.TempDir(), "db.env")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// unread returns the first key whose value the kubelet does not read from the file, or "".
func unread(path string, data map[string]secret.Value) string {
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if got, err := env.ParseEnv(path, key); err != nil || got != string([]byte(data[key])) {
			return fmt.Sprintf("%s: %.80q, %v", key, got, err)
		}
	}
	return ""
}

// TestEnvFile_kubelet writes Secrets with random values of the bytes that could matter. The
// kubelet reads each accepted Secret unchanged. It misreads each Secret rejected because of a
// value, except for a NUL, which no environment can contain.
func TestEnvFile_kubelet(t *testing.T) {
	alphabet := []string{"a", " ", "\t", "\n", "\r", "\r\n", "#", "=", "\"", "$(x)", "\\", "é", "\xff", "'",
		strings.Repeat("x", 32<<10)}
	accepted, rejected := 0, 0
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		data := map[string]secret.Value{}
		for _, key := range []string{"A", "B_1", "_c"} {
			var value strings.Builder
			for range random.IntN(6) {
				value.WriteString(alphabet[random.IntN(len(alphabet))])
			}
			data[key] = secret.Value(value.String())
		}
		path, ok := envFile(t, data)
		if !ok {
			rejected++
			if unread(rendered(t, data), data) == "" {
				t.Errorf("%.200q was rejected, but the kubelet reads it", text(data))
			}
			continue
		}
		accepted++
		if wrong := unread(path, data); wrong != "" {
			t.Errorf("%.200q: the kubelet reads %s", text(data), wrong)
		}
	}
	if accepted < 500 || rejected < 500 {
		t.Errorf("got %d accepted and %d rejected Secrets, want 500 of each", accepted, rejected)
	}
	t.Logf("%d accepted, %d rejected", accepted, rejected)
}

func text(data map[string]secret.Value) (all string) {
	for _, key := range slices.Sorted(maps.Keys(data)) {
		all += key + "=" + string([]byte(data[key])) + ";"
	}
	return all
}

// TestEnvFile_kubeletLineLimit compares the exact limit of a line, in the first and in a later
// line of a value.
func TestEnvFile_kubeletLineLimit(t *testing.T) {
	for _, prefix := range []string{"", "1\n"} {
		for n := 64<<10 - 20; n < 64<<10+20; n++ {
			data := map[string]secret.Value{"A": secret.Value(prefix + strings.Repeat("x", n)), "B": secret.Value("2")}
			_, ok := envFile(t, data)
			if reads := unread(rendered(t, data), data) == ""; ok != reads {
				t.Errorf("%q and %d bytes: accepted %v, but the kubelet reads it: %v", prefix, n, ok, reads)
			}
		}
	}
}
