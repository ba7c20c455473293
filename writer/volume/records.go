package volume

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// ReadCurrent reads the record of the generation to which ..data points, and the generation's directory.
func (v Volume) ReadCurrent() (dir string, rec generation.Record, err error) {
	dir, err = v.Readlink(generation.DataLink)
	switch {
	case NotALink(err):
		return "", rec, errors.New("no generation in the volume yet")
	case err != nil:
		return "", rec, err
	case !generation.GenerationName.MatchString(dir):
		return "", rec, fmt.Errorf("%s points to %q, which is no generation", generation.DataLink, dir)
	}
	rec, err = v.ReadRecord(dir)
	return dir, rec, err
}

// readRecord reads and parses the file of a record. It repeats a read that the disk failed, as a record cannot wait for
// the next comparison.
func readRecord[T any](v Volume, name string, parse func(data []byte) (T, error)) (record T, err error) {
	var data []byte
	for range MaxMisreads {
		if data, err = v.ReadFile(name); !errors.Is(err, unix.EIO) {
			break
		}
	}
	if err == nil {
		record, err = parse(data)
	}
	return record, err
}

// ReadRecord reads the record of a generation.
func (v Volume) ReadRecord(dir string) (generation.Record, error) {
	rec, err := readRecord(v, generation.RecordName(dir), generation.ParseRecord)
	if err != nil {
		err = fmt.Errorf("read the record of %q: %w", dir, err)
	}
	return rec, err
}

// ReadNotified reads the record of notifications.
func (v Volume) ReadNotified() (generation.Notified, error) {
	return readRecord(v, generation.NotifiedFile, generation.ParseNotified)
}

// Generations returns the generation to which ..data points, and all generations with a number, lowest first. It fails
// if it cannot list the volume, or if the process lacks a resource.
func (v Volume) Generations() (target generation.Found, all []generation.Found, err error) {
	link, err := v.Readlink(generation.DataLink)
	if err != nil && !NotALink(err) {
		return target, nil, err
	}
	for e, err := range v.ReadDir(".") {
		if err != nil {
			return target, nil, err
		}
		if !e.IsDir() || !generation.GenerationName.MatchString(e.Name()) {
			continue
		}
		found := generation.Found{Dir: e.Name()}
		found.Number, err = readRecord(v, generation.RecordName(found.Dir), generation.ParseNumber)
		if NoResource(err) {
			return target, nil, err
		}
		if found.Number > 0 {
			all = append(all, found)
		}
		if found.Dir == link {
			target = found
		}
	}
	slices.SortFunc(all, func(a, b generation.Found) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Dir, b.Dir))
	})
	return target, all, nil
}

// DiskSize returns the space that the files of a generation and its record occupy. It stops above limit.
func (v Volume) DiskSize(dir string, limit int64) (bytes int64) {
	info, _ := v.Lstat(generation.RecordName(dir))
	bytes = generation.DiskSize(info.Size)
	names, _ := v.Files(dir)
	for i := 0; i < len(names) && bytes <= limit; i++ {
		info, _ = v.Lstat(path.Join(dir, names[i]))
		bytes += generation.DiskSize(info.Size)
	}
	return bytes
}

// Ready returns nil if the volume at dir holds a complete generation.
func Ready(dir string) error { return Read(dir, Volume.CheckCurrent) }

// CheckCurrent returns an error if the volume contains no complete generation, if a file
// of the generation is missing, or if it could not examine a file.
func (v Volume) CheckCurrent() error {
	dir, rec, err := v.ReadCurrent()
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(rec.Paths())) {
		p := path.Join(dir, name)
		info, err := v.Lstat(p)
		if err != nil && !Missing(err) {
			return err
		}
		if err != nil || !info.Mode.IsRegular() {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("generation %d lacks %q (%d missing)", rec.Generation, missing[0], len(missing))
	}
	if !rec.Complete {
		return fmt.Errorf("generation %d is not complete yet", rec.Generation)
	}
	return nil
}
