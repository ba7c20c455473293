package filewatchers

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// secretName is the Secret read by the consumers. The volume contains another Secret too.
const secretName = "db"

// A volume is a directory to which a writer publishes, as in secret-sync.
type volume struct {
	dir    string
	folder string // the directory with the files of secretName
	writer *writer.Writer
	set    generation.Content // the last published Secrets
}

// newVolume returns a volume with value 1.
func newVolume(t *testing.T, layout generation.Layout) volume {
	t.Helper()
	dir := t.TempDir()
	w, err := writer.Open(t.Context(), writer.Options{
		Dir: dir, Layout: layout, FileMode: 0o644,
		Logger:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Repaired: func() { t.Error("the writer repaired what nobody damaged") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	v := volume{dir: dir, folder: dir, writer: w,
		set: generation.Content{Complete: true, Secrets: map[string]generation.Files{}}}
	if layout == generation.Nested {
		v.folder = filepath.Join(dir, secretName)
	}
	v.publishOther(t, 1)
	v.publish(t, 1)
	return v
}

// publish sets every file of the Secret to the value.
func (v volume) publish(t *testing.T, value int) {
	t.Helper()
	n, pair := strconv.Itoa(value), pairs(t)[value-1]
	v.put(t, secretName, n, map[string]secret.Value{
		"username": secret.Value("app-" + n), "password": secret.Value(n),
		"config.yaml": secret.Value("password: " + n + "\n"),
		"tls.crt":     pair.cert, "tls.key": pair.key,
	})
}

func (v volume) publishOther(t *testing.T, value int) {
	t.Helper()
	n := strconv.Itoa(value)
	v.put(t, "other", n, map[string]secret.Value{"token": secret.Value(n)})
}

func (v volume) put(t *testing.T, name, version string, content map[string]secret.Value) {
	t.Helper()
	v.set.Secrets[name] = generation.Files{UID: name, ResourceVersion: version, Values: content}
	next := generation.Content{Complete: true, Secrets: maps.Clone(v.set.Secrets)}
	if _, err := v.writer.Publish(t.Context(), next); err != nil {
		t.Fatal(err)
	}
}

func (v volume) file(name string) string { return filepath.Join(v.folder, name) }
