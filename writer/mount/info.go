package mount

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Info is what Lstat tells of an entry.
type Info struct {
	Mode fs.FileMode // its type and permissions
	Size int64
}

func info(st *unix.Stat_t) Info {
	return Info{Mode: types[st.Mode&unix.S_IFMT] | fs.FileMode(st.Mode&0o777) | setgid(st.Mode), Size: st.Size}
}

var types = map[uint32]fs.FileMode{
	unix.S_IFREG: 0, unix.S_IFDIR: fs.ModeDir, unix.S_IFLNK: fs.ModeSymlink, unix.S_IFIFO: fs.ModeNamedPipe,
	unix.S_IFSOCK: fs.ModeSocket, unix.S_IFBLK: fs.ModeDevice, unix.S_IFCHR: fs.ModeDevice | fs.ModeCharDevice,
}

func setgid(mode uint32) fs.FileMode {
	if mode&unix.S_ISGID != 0 {
		return fs.ModeSetgid
	}
	return 0
}

// permissions are what chmod takes.
func permissions(mode fs.FileMode) uint32 {
	p := uint32(mode.Perm())
	if mode&fs.ModeSetgid != 0 {
		p |= unix.S_ISGID
	}
	return p
}
