package mount

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Info is what Lstat finds of an entry.
type Info struct {
	Mode fs.FileMode // its type and permissions
	Size int64
}

func info(st *unix.Stat_t) Info {
	mode := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	return Info{Mode: mode, Size: st.Size}
}

// permissions are what the kernel takes.
func permissions(mode fs.FileMode) uint32 {
	p := uint32(mode.Perm())
	if mode&fs.ModeSetgid != 0 {
		p |= unix.S_ISGID
	}
	return p
}
