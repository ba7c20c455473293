package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// manifestFolders are the examples in a release: the examples that name the image.
var manifestFolders = []string{"cases", "component", "helm", "inject", "monitoring", "pod", "rotate"}

// manifestFiles are the types of the copied files. Code is not copied.
var manifestFiles = []string{".yaml", ".json", ".tpl", ".md"}

// writeManifests copies the examples to dir and fills in the image and the version. It
// rewrites the examples if dir contains them.
func writeManifests(o options, dir string) error {
	examples := filepath.Join(o.source, "examples")
	number := strings.TrimPrefix(o.version, "v")
	fill := strings.NewReplacer(
		"secret-sync:latest", o.image+":"+o.version,
		// In the charts.
		"repository: secret-sync\n", "repository: "+o.image+"\n",
		"tag: latest\n", "tag: "+o.version+"\n",
		"\nversion: 1.0.0\n", "\nversion: "+number+"\n",
		"\nappVersion: latest\n", "\nappVersion: "+o.version+"\n",
		`version: ">=1.0.0"`, `version: "`+number+`"`,
	)
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
