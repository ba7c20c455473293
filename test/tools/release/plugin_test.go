package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/test/harness/build"
)

// krewManifest is the part of a manifest for krew that depends on the archives.
type krewManifest struct {
	Spec struct {
		Version   string `json:"version"`
		Platforms []struct {
			Selector struct {
				MatchLabels struct {
					OS   string `json:"os"`
					Arch string `json:"arch"`
				} `json:"matchLabels"`
			} `json:"selector"`
			URI    string `json:"uri"`
			SHA256 string `json:"sha256"`
			Bin    string `json:"bin"`
			Files  []struct {
				From string `json:"from"`
			} `json:"files"`
		} `json:"platforms"`
	} `json:"spec"`
}

// TestKrew_everyPlatform fills the manifest for krew from six archives. Krew must find each
// archive with its checksum, and its program.
func TestKrew_everyPlatform(t *testing.T) {
	source, err := build.RepositoryDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := options{version: "v1.2.3", source: source, out: t.TempDir(), platforms: platforms}
	for _, platform := range platforms {
		if err := os.WriteFile(o.pluginFile(platform), []byte(platform), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeKrew(o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.out, "krew.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest krewManifest
	if err := yaml.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Spec.Platforms) != len(platforms) || manifest.Spec.Version != o.version {
		t.Errorf("got version %s for %d platforms, want %s for %d:\n%s",
			manifest.Spec.Version, len(manifest.Spec.Platforms), o.version, len(platforms), text)
	}
	for _, p := range manifest.Spec.Platforms {
		system := p.Selector.MatchLabels.OS
		platform := system + "-" + p.Selector.MatchLabels.Arch
		want := "/releases/download/v1.2.3/" + filepath.Base(o.pluginFile(platform))
		if !strings.HasSuffix(p.URI, want) {
			t.Errorf("%s: got the URI %s, want %s", platform, p.URI, want)
		}
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(platform))); p.SHA256 != want {
			t.Errorf("%s: got the checksum %s, want %s", platform, p.SHA256, want)
		}
		if p.Bin != program(system) || len(p.Files) != 2 || p.Files[0].From != p.Bin || p.Files[1].From != "LICENSE" {
			t.Errorf("%s: got the program %s and the files %v, want %s and LICENSE",
				platform, p.Bin, p.Files, program(system))
		}
	}
}

// checkPlugins checks the archive of each platform.
func checkPlugins(t *testing.T, o options) {
	for _, platform := range o.platforms {
		archive, err := os.ReadFile(o.pluginFile(platform))
		if err != nil {
			t.Fatal(err)
		}
		system, arch, _ := strings.Cut(platform, "-")
		files := unpack(t, archive)
		if len(files) != 2 || len(files["LICENSE"]) == 0 {
			t.Errorf("%s: got %d files, want the program and the license", platform, len(files))
		}
		checkPlugin(t, o, files[program(system)], system, arch)
	}
}

// checkPlugin checks the platform of the plugin, and runs the plugin of this machine.
func checkPlugin(t *testing.T, o options, program []byte, system, arch string) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	platform := map[string]string{}
	for _, s := range info.Settings {
		platform[s.Key] = s.Value
	}
	if platform["GOOS"] != system || platform["GOARCH"] != arch {
		t.Errorf("got a plugin for %s-%s, want %s-%s", platform["GOOS"], platform["GOARCH"], system, arch)
	}
	if system != runtime.GOOS || arch != runtime.GOARCH {
		return
	}
	path := filepath.Join(t.TempDir(), plugin)
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), o.version) {
		t.Errorf("%s --version: got %q, %v, want %s", plugin, out, err, o.version)
	}
}

// unpack returns the files in a compressed tar file.
func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(plain); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
