package filewatchers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// inotifyFile watches the current inode of the file. After any event of the inode it resolves
// the path again and watches the new inode.
func inotifyFile(t *testing.T, v volume, seen func(string)) {
	const mask = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	file := v.file("password")
	n := newInotify(t)
	if err := n.watch(file, mask); err != nil {
		t.Fatal(err)
	}
	n.each(t, func(event) {
		if err := n.watch(file, mask); err != nil {
			seen(err.Error())
		}
		read(file, seen) // after adding the watch, so every later change causes an event
	})
}

// inotifyVolume watches for renames of DIR/..data.
func inotifyVolume(t *testing.T, v volume, seen func(string)) { inotifyFolder(t, v.dir, v, seen) }

// inotifySecret watches for renames of DIR/SECRET/..data.
func inotifySecret(t *testing.T, v volume, seen func(string)) { inotifyFolder(t, v.folder, v, seen) }

func inotifyFolder(t *testing.T, dir string, v volume, seen func(string)) {
	n := newInotify(t)
	if err := n.watch(dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		t.Fatal(err)
	}
	n.each(t, func(e event) {
		if e.name == "..data" {
			read(v.file("password"), seen)
		}
	})
}

// read reports an error like a content, because an exchange of the file causes no error.
func read(file string, seen func(string)) {
	data, err := os.ReadFile(file)
	if err != nil {
		seen(err.Error())
		return
	}
	seen(string(data))
}

// inotify uses the kernel's interface directly.
type inotify struct {
	fd *os.File
}

type event struct {
	mask uint32
	name string // in the watched directory
}

func newInotify(t *testing.T) inotify {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	return inotify{os.NewFile(uintptr(fd), "inotify")}
}

// watch may be called again for a watched path.
func (n inotify) watch(path string, mask uint32) error {
	conn, err := n.fd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { _, failed = unix.InotifyAddWatch(int(fd), path, mask) })
	return errors.Join(err, failed)
}

// each calls f for the kernel's events until the test ends.
func (n inotify) each(t *testing.T, f func(event)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 64<<10)
		for {
			size, err := n.fd.Read(buffer)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range parse(buffer[:size]) {
				if e.mask&unix.IN_IGNORED == 0 { // IN_IGNORED: the inode was deleted
					f(e)
				}
			}
		}
	}()
	t.Cleanup(func() {
		n.fd.Close()
		<-done
	})
}

// parse splits the data of inotify: wd, mask, cookie, length of the name, name.
func parse(data []byte) (events []event) {
	for len(data) >= unix.SizeofInotifyEvent {
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(data[12:]))
		name := bytes.TrimRight(data[unix.SizeofInotifyEvent:end], "\x00")
		events = append(events, event{binary.NativeEndian.Uint32(data[4:]), string(name)})
		data = data[end:]
	}
	return events
}
