package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// ReadCurrent reads the record of the generation to which ..data points, and the
// generation's directory.
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

// readRecord reads the file of a record. It repeats a read that the disk failed, as a
// record cannot wait for the next comparison.
func (v Volume) readRecord(name string) (data []byte, err error) {
	for range MaxMisreads {
		if data, err = v.ReadFile(name); !errors.Is(err, unix.EIO) {
			break
		}
	}
	return data, err
}

// ReadRecord reads the record of a generation.
func (v Volume) ReadRecord(dir string) (rec generation.Record, err error) {
	data, err := v.readRecord(generation.RecordName(dir))
	if err == nil {
		rec, err = generation.ParseRecord(data)
	}
	if err != nil {
		err = fmt.Errorf("read the record of %q: %w", dir, err)
	}
	return rec, err
}

// ReadNotified reads the record of notifications.
func (v Volume) ReadNotified() (generation.Notified, error) {
	data, err := v.readRecord(generation.NotifiedFile)
	if err != nil {
		return generation.Notified{}, err
	}
	return generation.ParseNotified(data)
}

// Generations returns the directories and records of all generations, lowest number
// first. The number is 0 if the record is missing, because the generation was not
// published, or could not be read. unread contains the reason of the latter. Generations
// returns an error if a generation or its record may exist.
func (v Volume) Generations() (all []*generation.Generation, unread []error, err error) {
	for e, err := range v.ReadDir(".") {
		if err != nil {
			return nil, nil, err
		}
		if !generation.GenerationName.MatchString(e.Name()) || !e.IsDir() {
			continue
		}
		rec, err := v.ReadRecord(e.Name())
		if err == nil && rec.Generation > generation.MaxFound {
			rec, err = generation.Record{}, fmt.Errorf("read the record of %q: its number is too high", e.Name())
		}
		switch {
		case NoResource(err):
			return nil, nil, err
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			unread = append(unread, err)
		}
		all = append(all, &generation.Generation{Dir: e.Name(), Record: rec})
	}
	slices.SortFunc(all, func(a, b *generation.Generation) int {
		return cmp.Or(cmp.Compare(a.Record.Generation, b.Record.Generation), cmp.Compare(a.Dir, b.Dir))
	})
	return all, unread, nil
}

// DiskSize returns the space that the files of a generation occupy.
func (v Volume) DiskSize(dir string, rec generation.Record) (bytes int64) {
	for name := range rec.Paths() {
		info, _ := v.Lstat(path.Join(dir, name))
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

// Load reads the files of a generation. unread contains the reasons for missing files.
// Load returns an error if it cannot know whether a file exists.
func (v Volume) Load(
	ctx context.Context, dir string, rec generation.Record,
) (content generation.Content, unread []error, err error) {
	content = generation.Content{Secrets: map[string]generation.Files{}}
	for name, s := range rec.AllSecrets() {
		files := generation.Files{UID: s.UID, ResourceVersion: s.ResourceVersion, Values: map[string]secret.Value{},
			Modes: map[string]fs.FileMode{}}
		for file, f := range s.Files {
			if f.Mode != 0 {
				files.Modes[file] = f.Mode
			}
			data, err := v.ReadFile(path.Join(dir, rec.Layout.Path(name, file)))
			switch {
			case ctx.Err() != nil, NoResource(err):
				return content, nil, cmp.Or(ctx.Err(), err)
			case err == nil:
				files.Values[file] = data
			default:
				unread = append(unread, err)
			}
		}
		content.Secrets[name] = files
	}
	return content, unread, nil
}
