package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/secret-sync/secret-sync/test/harness/build"
)

// plugin is the name of the program that kubectl runs for `kubectl secret-sync`.
const plugin = "kubectl-secret_sync"

// platforms lists the platforms of the kubectl plugin, as OS-ARCH.
var platforms = []string{
	"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64", "windows-amd64", "windows-arm64",
}

// writePlugins writes an archive of the kubectl plugin for each platform.
func writePlugins(ctx context.Context, o options) error {
	for _, platform := range o.platforms {
		archive, err := o.pluginArchive(ctx, platform)
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.pluginFile(platform), archive, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeKrew writes the manifest of the plugin for krew, with the checksums of the archives.
func writeKrew(o options) error {
	fill := []string{"VERSION", o.version}
	for _, platform := range o.platforms {
		archive, err := os.ReadFile(o.pluginFile(platform))
		if err != nil {
			return err
		}
		fill = append(fill, "SHA256-"+platform, fmt.Sprintf("%x", sha256.Sum256(archive)))
	}
	manifest, err := os.ReadFile(filepath.Join(o.source, "cmd", plugin, "krew.yaml"))
	if err != nil {
		return err
	}
	filled := strings.NewReplacer(fill...).Replace(string(manifest))
	return os.WriteFile(filepath.Join(o.out, "krew.yaml"), []byte(filled), 0o644)
}

func (o options) pluginFile(platform string) string {
	return filepath.Join(o.out, plugin+"-"+platform+".tar.gz")
}

// pluginArchive returns a compressed tar file with the plugin and the license, which krew
// requires.
func (o options) pluginArchive(ctx context.Context, platform string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "plugin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	system, arch, _ := strings.Cut(platform, "-")
	path := filepath.Join(dir, program(system))
	if err := build.Plugin(ctx, o.source, path, o.version, "GOOS="+system, "GOARCH="+arch); err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	license, err := os.ReadFile(filepath.Join(o.source, "LICENSE"))
	if err != nil {
		return nil, err
	}
	files, err := o.tar(file{filepath.Base(path), 0o755, binary}, file{"LICENSE", 0o644, license})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(files); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// program returns the name of the plugin's program.
func program(system string) string {
	if system == "windows" {
		return plugin + ".exe"
	}
	return plugin
}

// A file is an entry of a tar file.
type file struct {
	name    string
	mode    int64
	content []byte
}

// tar returns a tar file whose entries have the date of the commit.
func (o options) tar(files ...file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{
			Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: o.created, Format: tar.FormatPAX,
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
