package generation

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// An Entry is a directory, file or link in the volume.
type Entry struct {
	Path   string       // relative to the volume
	Mode   fs.FileMode  // the type and, except for a link, the permissions
	Target string       // of a link, "" otherwise
	Data   secret.Value // of a file
}

func ownLink(name string) Entry {
	return Entry{Path: name, Mode: fs.ModeSymlink, Target: OwnTarget(name)}
}

// directory returns a directory whose group and others may enter it if they may read files of mode fileMode. Only the
// owner may write, and always can: unlinking a file requires it.
func directory(name string, fileMode fs.FileMode) Entry {
	read := fileMode & 0o444
	return Entry{Path: name, Mode: fs.ModeDir | 0o700 | read | read>>2}
}

// Dirs returns the paths of the directories among entries.
func Dirs(entries []Entry) (names []string) {
	for _, e := range entries {
		if e.Mode.IsDir() {
			names = append(names, e.Path)
		}
	}
	return names
}

// sorted sorts entries by path and removes duplicates.
func sorted(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(entries, func(a, b Entry) bool { return a.Path == b.Path })
}

func find(entries []Entry, name string) (e Entry, ok bool) {
	i, ok := slices.BinarySearchFunc(entries, name,
		func(e Entry, name string) int { return strings.Compare(e.Path, name) })
	if ok {
		e = entries[i]
	}
	return e, ok
}

// page is the unit in which a file system allocates space.
const page = 4096

// DiskSize returns the disk space for a file of this length, at least a page: an empty file occupies an inode.
func DiskSize(length int64) int64 { return (max(length, 1) + page - 1) / page * page }
