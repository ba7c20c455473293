package writer

import (
	"fmt"
	"path"

	"github.com/secret-sync/secret-sync/writer/mount"
	"github.com/secret-sync/secret-sync/writer/plan"
)

// Ready reports whether a complete generation is in the volume at dir, nil if so.
// It only looks, needs no lock, and works beside the Writer, in its process or
// in another one.
func Ready(dir string) error {
	vol, err := mount.Look(dir)
	if err != nil {
		return fmt.Errorf("open the volume: %w", err)
	}
	defer func() { _ = vol.Close() }()
	target, rec, err := readCurrent(vol, dir)
	if err != nil {
		return err
	}
	if !rec.Complete {
		return fmt.Errorf("generation %d in %q is not complete yet", rec.Generation, dir)
	}
	for secret, s := range rec.Secrets {
		for file := range s.Files {
			p := path.Join(target, plan.Path(rec.Flat, secret, file))
			if info, err := vol.Lstat(p); err != nil || !info.Mode.IsRegular() {
				return fmt.Errorf("generation %d in %q lacks %q", rec.Generation, dir, p)
			}
		}
	}
	return nil
}

// readCurrent reads which generation is in the volume, and its record.
func readCurrent(vol *mount.Mount, dir string) (target string, rec plan.Record, err error) {
	if target, err = vol.Readlink(plan.DataLink); err != nil {
		return "", rec, fmt.Errorf("no generation is in %q yet", dir)
	}
	if !plan.GenerationName.MatchString(target) {
		return "", rec, fmt.Errorf("%s in %q points to %q, which is no generation", plan.DataLink, dir, target)
	}
	data, err := vol.ReadFile(plan.RecordName(target))
	if err != nil {
		return "", rec, fmt.Errorf("read the record of %q: %w", target, err)
	}
	rec, err = plan.ParseRecord(data)
	return target, rec, err
}
