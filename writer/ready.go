package writer

import (
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Ready tells whether a complete generation is in the volume at dir, nil if so.
// It only looks, needs no lock, and works beside the Writer, in its process or
// in another one.
func Ready(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the volume: %w", err)
	}
	defer root.Close()
	vol := &rootVolume{root: root}
	target, err := vol.Readlink(dataLink)
	if err != nil {
		return fmt.Errorf("no generation is in %q yet", dir)
	}
	if !generationName.MatchString(target) {
		return fmt.Errorf("%s in %q leads to %q, which is no generation", dataLink, dir, target)
	}
	data, err := vol.ReadFile(recordName(target))
	if err != nil {
		return fmt.Errorf("read the record of %q: %w", target, err)
	}
	rec, err := parseRecord(data)
	if err != nil {
		return err
	}
	if !rec.Complete {
		return fmt.Errorf("generation %d in %q is not complete yet", rec.Generation, dir)
	}
	for secret, s := range rec.Secrets {
		for file := range s.Files {
			p := path.Join(target, inGeneration(rec.Flat, secret, file))
			if info, err := vol.Lstat(p); err != nil || info.Mode().Type() != fs.FileMode(0) {
				return fmt.Errorf("generation %d in %q lacks %q", rec.Generation, dir, p)
			}
		}
	}
	return nil
}
