package build

import (
	"bytes"
	"debug/buildinfo"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSidecarFlags_equalDockerfile: the binary of the tests and measurements is the
// binary of the image.
func TestSidecarFlags_equalDockerfile(t *testing.T) {
	source, err := RepositoryDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(source, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := strings.ReplaceAll(string(text), "\\\n    ", "")
	for _, want := range []string{
		"go build " + strings.Join(sidecarFlags, " ") + ` -ldflags "` + linkerFlags +
			` $more -X main.version=$VERSION"`,
		`amd64|arm64) more="` + sidecarLinkerFlags + `";;`,
	} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile does not contain %s", want)
		}
	}
}

// TestSidecar_size limits the size of the binary, because it costs memory in every Pod.
func TestSidecar_size(t *testing.T) {
	const most = 11_200_000
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
		t.Errorf(
			"got %d bytes, want at most %d; find the new imports with go version -m and go tool nm -size",
			info.Size(),
			most,
		)
	}
}

// TestRelease_reproducible builds the same source in two directories, for each
// architecture of the image. The binaries must be identical.
func TestRelease_reproducible(t *testing.T) {
	source, err := RepositoryDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "elsewhere")
	copySource(t, source, other)
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			var binaries [][]byte
			for i, dir := range []string{source, other} {
				path := filepath.Join(t.TempDir(), "secret-sync")
				if err := Release(t.Context(), dir, path, arch, "v1.2.3"); err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				binaries = append(binaries, b)
				t.Logf("build %d: %d bytes", i, len(b))
			}
			if !bytes.Equal(binaries[0], binaries[1]) {
				t.Error("two builds differ")
			}
			info, err := buildinfo.Read(bytes.NewReader(binaries[0]))
			if err != nil || len(info.Deps) == 0 {
				t.Errorf("the binary does not list its dependencies: %v, %v", info, err)
			}
		})
	}
}

// copySource copies the repository without the examples and .git.
func copySource(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (name == "examples" || name == ".git") {
			return fs.SkipDir
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
