package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/secret-sync/secret-sync/test/harness/build"
)

// built creates the same release twice, for a registry, with the kubectl plugin for this
// machine. CI builds the plugin for every platform.
func built(t *testing.T, registry string) (o, again options) {
	t.Helper()
	source, err := build.RepositoryDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o = options{version: "v1.2.3", registry: registry, source: source, platforms: []string{"linux-" + runtime.GOARCH},
		revision: strings.Repeat("ab", 20), created: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)}
	again = o
	o.out, again.out = filepath.Join(t.TempDir(), "deeper", "once"), filepath.Join(t.TempDir(), "again")
	for _, o := range []options{o, again} {
		if err := release(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return o, again
}

// TestRelease_contents checks every part of a release.
func TestRelease_contents(t *testing.T) {
	o, again := built(t, startRegistry(t)+"/team")
	t.Run("two runs produce the same bytes", func(t *testing.T) { same(t, o.out, again.out) })
	t.Run("push", func(t *testing.T) { checkPush(t, o, again) })
	t.Run("plugins", func(t *testing.T) { checkPlugins(t, o) })
	t.Run("checksums", func(t *testing.T) { checkSums(t, o.out) })
	for _, arch := range architectures {
		t.Run("components of "+arch, func(t *testing.T) { checkSBOM(t, o, arch) })
	}
	t.Run("manifests", func(t *testing.T) { checkManifests(t, o) })
	t.Run("a directory that is not empty", func(t *testing.T) {
		if err := release(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("got %v, want an error: the directory is not empty", err)
		}
	})
}

// TestRelease_invalidVersion rejects versions in other forms than v1.2.3.
func TestRelease_invalidVersion(t *testing.T) {
	for _, version := range []string{"", "1.2.3", "v1.2", "v1.2.3;true", "latest"} {
		err := release(t.Context(), options{version: version, out: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "not a version") {
			t.Errorf("%q: got %v, want an error: not a version", version, err)
		}
	}
}

// TestImage_equalDockerfile: the image contains the same settings as the Dockerfile.
func TestImage_equalDockerfile(t *testing.T) {
	text, err := os.ReadFile("../../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range (options{version: "$VERSION", revision: "$REVISION"}).labels() {
		if want := fmt.Sprintf("%s=%q", key, value); !strings.Contains(string(text), want) {
			t.Errorf("the Dockerfile lacks %s", want)
		}
	}
	for _, want := range []string{"\nUSER " + user + "\n", fmt.Sprintf("\nENTRYPOINT [%q]\n", entrypoint)} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
}

// files returns the contents of the files in a directory and the targets of its links.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.Type() == fs.ModeSymlink {
			all[name], err = os.Readlink(path)
			return err
		}
		content, err := os.ReadFile(path)
		all[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, dir, other string) {
	a, b := files(t, dir), files(t, other)
	for name := range a {
		if a[name] != b[name] {
			t.Errorf("%s differs", name)
		}
	}
	if len(a) != len(b) || len(a) < 10 {
		t.Errorf("got %d and %d files, want the same number, at least 10", len(a), len(b))
	}
}

func checkSums(t *testing.T, dir string) {
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files(t, dir) {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(content)), name)
		if info.Mode().IsRegular() && name != "SHA256SUMS" && !strings.Contains(string(sums), line) {
			t.Errorf("SHA256SUMS lacks %s", line)
		}
	}
}

func checkSBOM(t *testing.T, o options, arch string) {
	f, err := os.Open(o.binary(arch) + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(f, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(o.binary(arch))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, part := range *bom.Components {
		parts[part.Name] = part.Version
	}
	for _, module := range info.Deps {
		if parts[module.Path] != module.Version {
			t.Errorf("%s: got %q, want %s", module.Path, parts[module.Path], module.Version)
		}
	}
	if got, want := len(parts), len(info.Deps)+1; got != want || parts["std"] == "" {
		t.Errorf("got %d components, want %d, including std", got, want)
	}
	if got := bom.Metadata.Component.Version; got != o.version {
		t.Errorf("version: got %q, want %q", got, o.version)
	}
}

func checkConfig(t *testing.T, o options, image v1.Image, arch string) {
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(
		[]any{
			config.Architecture,
			config.OS,
			config.Config.User,
			config.Config.Entrypoint,
			config.Config.Labels,
			config.Created.Time,
		},
	)
	want, _ := json.Marshal([]any{arch, "linux", user, []string{entrypoint}, o.labels(), o.created})
	if !bytes.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("got %d layers, %v, want 1", len(layers), err)
	}
	tar, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer tar.Close()
	content, err := io.ReadAll(tar)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(o.binary(arch))
	if err != nil || !bytes.Contains(content, binary) {
		t.Errorf("the layer does not contain the binary (%v)", err)
	}
}

func checkManifests(t *testing.T, o options) {
	var images, charts int
	for name, text := range files(t, filepath.Join(o.out, "manifests")) {
		if strings.Contains(text, "secret-sync:latest") ||
			strings.HasSuffix(name, "values.yaml") && strings.Contains(text, "tag: latest") {
			t.Errorf("%s contains an image without the version", name)
		}
		images += strings.Count(text, o.image()+":"+o.version)
		if strings.HasSuffix(name, "Chart.yaml") {
			charts += strings.Count(text, "\nversion: 1.2.3\n")
		}
		if strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "Dockerfile") {
			t.Errorf("%s is not a manifest", name)
		}
	}
	if images < 6 || charts != 2 {
		t.Errorf("found the image %d times and the version in %d charts, want at least 6 and 2", images, charts)
	}
}
