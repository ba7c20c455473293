package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// manifestFolders are the examples in a release: the examples that name the image.
var manifestFolders = []string{"cases", "component", "helm", "inject", "monitoring", "pod", "rotate"}

// manifestFiles are the types of the copied files. Code is not copied.
var manifestFiles = []string{".yaml", ".json", ".tpl", ".md"}

// replacements returns the texts of the examples to replace, each followed by its
// replacement.
func (o options) replacements() []string {
	all := []string{
		"secret-sync:latest", o.image() + ":" + o.version,
		// In the charts.
		"repository: secret-sync\n", "repository: " + o.image() + "\n",
		"tag: latest\n", "tag: " + o.version + "\n",
		"\nversion: 1.0.0", "\nversion: " + o.chartVersion(),
		"\nappVersion: latest", "\nappVersion: " + o.version,
		`version: ">=1.0.0"`, `version: "` + o.chartVersion() + `"`,
	}
	if o.registry != "" {
		all = append(all, "file://../secret-sync", "oci://"+path.Join(o.registry, "charts"))
	}
	return all
}

// writeManifests copies the examples to dir and fills in the image and the version. It
// rewrites the examples if dir contains them.
func writeManifests(o options, dir string) error {
	examples := filepath.Join(o.source, "examples")
	fill := strings.NewReplacer(o.replacements()...)
	for _, folder := range manifestFolders {
		err := filepath.WalkDir(filepath.Join(examples, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(examples, path)
			if err != nil {
				return err
			}
			return copyManifest(path, filepath.Join(dir, name), d, fill)
		})
		if err != nil {
			return err
		}
	}
	return o.checkFilled(filepath.Join(dir, "inject", "image.yaml"))
}

// checkFilled returns an error if a manifest does not contain the image of this release.
// The examples at a tag contain the image of the tag, which may differ.
func (o options) checkFilled(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if want := o.image() + ":" + o.version; !strings.Contains(string(text), `"`+want+`"`) {
		return fmt.Errorf("%s does not contain the image %s; use the version and the -registry of the tag", path, want)
	}
	return nil
}

// copyManifest copies an entry. A symbolic link is copied as a link, because a chart refers
// to another chart with it.
func copyManifest(from, to string, d fs.DirEntry, fill *strings.Replacer) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch {
	case d.Type() == fs.ModeSymlink && from != to:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case d.Type().IsRegular() && slices.Contains(manifestFiles, filepath.Ext(from)):
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(fill.Replace(string(text))), 0o644)
	}
	return nil
}
