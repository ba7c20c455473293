package volume

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"runtime/debug"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// MaxLoaded limits the bytes that Load reads: another process may plant more. It is three times the supported size.
const MaxLoaded = 64 << 20

// A warner logs a warning about a path. args are those of slog.
type warner = func(msg, path string, args ...any)

// Load returns a generation with its files, or the empty generation if its record is unreadable, even with EIO.
func (v Volume) Load(ctx context.Context, f generation.Found, warn warner) (*generation.Generation, error) {
	rec, err := v.ReadRecord(f.Dir)
	switch {
	case NoResource(err):
		return nil, err
	case err == nil && rec.Generation == f.Number:
		return v.LoadRecord(ctx, f.Dir, rec, warn)
	}
	warn("could not read the record of a generation", f.Dir, "err", cmp.Or(err, errors.New("two numbers")))
	return &generation.Generation{}, nil
}

// LoadRecord returns the generation of a record with its files. It reads at most MaxLoaded bytes, or less if Go's
// memory limit is lower, and leaves out the remaining files. It warns about files without a value. It returns an error
// if ctx ends or the process lacks a resource.
func (v Volume) LoadRecord(
	ctx context.Context, dir string, rec generation.Record, warn warner,
) (*generation.Generation, error) {
	content := generation.Content{Secrets: map[string]generation.Files{}}
	left, err := min(MaxLoaded, debug.SetMemoryLimit(-1)), error(nil)
	for name, s := range rec.Secrets {
		top := path.Join(dir, rec.Layout.Path(name, ""))
		if content.Secrets[name], err = v.loadFiles(ctx, top, s, &left, warn); err != nil {
			return nil, err
		}
	}
	content.Unowned, err = v.loadFiles(ctx, dir, generation.SecretRecord{Files: rec.Unowned}, &left, warn)
	return generation.New(dir, rec, content), err
}

// loadFiles returns the files of a Secret in dir. It subtracts their lengths from left, and stops if nothing is left.
func (v Volume) loadFiles(
	ctx context.Context, dir string, s generation.SecretRecord, left *int64, warn warner,
) (generation.Files, error) {
	files := generation.Files{UID: s.UID, ResourceVersion: s.ResourceVersion,
		Values: map[string]secret.Value{}, Modes: map[string]fs.FileMode{}}
	for file, f := range s.Files {
		if f.Mode != 0 {
			files.Modes[file] = f.Mode
		}
		if *left <= 0 {
			warn("a generation is too large to read at the start, leaving out files", dir)
			continue
		}
		data, err := v.ReadFile(path.Join(dir, file))
		*left -= int64(len(data))
		switch {
		case ctx.Err() != nil, NoResource(err):
			return files, cmp.Or(ctx.Err(), err)
		case err == nil:
			files.Values[file] = data
		default:
			files.Unread = append(files.Unread, file)
			warn("could not read a file of a generation", path.Join(dir, file), "err", err)
		}
	}
	return files, nil
}

// Rebuild returns a record of the files in a generation's directory, see generation.Rebuild. The files keep their
// modes: a private file must not become readable before the API server answers.
func (v Volume) Rebuild(dir string, rec generation.Record) (generation.Record, error) {
	files, err := v.Files(dir)
	rec = generation.Rebuild(rec, files, func(file string) fs.FileMode {
		info, failed := v.Lstat(path.Join(dir, file))
		if Unknown(failed) {
			err = failed
		}
		return info.Mode.Perm()
	})
	return rec, err // a file without an answer would pass for missing, or for readable
}

// AddUnread returns content with the files of cur that Load could not read. It returns an error if such a file may
// still exist: its Secret may be deleted, and the file the only copy.
func (v Volume) AddUnread(cur *generation.Generation, content generation.Content) (generation.Content, error) {
	var err error
	content.Secrets = maps.Clone(content.Secrets)
	for name, files := range content.Secrets {
		dir := path.Join(cur.Dir, cur.Record.Layout.Path(name, ""))
		if content.Secrets[name], err = v.readAgain(dir, files); err != nil {
			return content, err
		}
	}
	content.Unowned, err = v.readAgain(cur.Dir, content.Unowned)
	return content, err
}

// readAgain returns files with the unread files of a Secret in the directory dir.
func (v Volume) readAgain(dir string, files generation.Files) (generation.Files, error) {
	for _, file := range files.Unread {
		if _, known := files.Values[file]; known {
			continue
		}
		value, err := v.ReadFile(path.Join(dir, file))
		if Unknown(err) {
			return files, err
		}
		if err == nil {
			files.Values = maps.Clone(files.Values)
			files.Values[file] = value
		}
	}
	return files, nil
}
