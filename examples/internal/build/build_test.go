package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAsInTheDockerfile: what the tests run and the tables measure is what the
// image has in it.
func TestAsInTheDockerfile(t *testing.T) {
	source, err := ExamplesDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(source, "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	want := "go build " + strings.Join(sidecarFlags, " ") + ` -ldflags "` + linkerFlags
	if !strings.Contains(string(text), want) {
		t.Errorf("the Dockerfile does not have %s", want)
	}
}

// TestSize: every Pod pays for the binary with memory.
func TestSize(t *testing.T) {
	const most = 12_000_000
	path, err := Sidecar(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > most {
		t.Errorf("got %d bytes, want at most %d: what was imported? go version -m and go tool nm -size tell", info.Size(), most)
	}
}
