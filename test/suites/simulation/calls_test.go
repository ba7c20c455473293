package simulation

import (
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// Change makes a call that changes the volume, or applies a fault in its place. After the
// end of the life each call fails and does nothing.
func (l *life) Change(op, name string, do func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errDead
	}
	l.changes++
	fault := l.fault(op, name)
	if fault == killBefore {
		l.kill("before " + op + " " + name)
		return errDead
	}
	var err error
	if fault != notDone && fault != noSpace {
		err = do()
	}
	l.tracef("volume: %s %s: %v%s", op, name, err, fault)
	l.reader.Check()
	switch fault {
	case killAfter:
		l.kill("after " + op + " " + name)
		return errDead
	case notDone, done:
		return syscall.EIO
	case noSpace:
		return syscall.ENOSPC
	}
	return err
}

// Read makes a read-only call.
func (l *life) Read(op, name string, do func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errDead
	}
	if l.fault(op, name) != "" {
		l.tracef("volume: %s %s fails", op, name)
		return syscall.EIO
	}
	return do()
}

// The possible outcomes of a call on the volume.
const (
	killBefore = "; killed before it"
	killAfter  = "; killed after it"
	notDone    = "; it fails and does nothing"
	done       = "; it fails and is done all the same"
	noSpace    = "; there is no space"
)

// The states of the file system during a fault.
const (
	diskFails  = "some calls fail"
	diskBroken = "most calls fail"
	diskFull   = "full"
	diskReads  = "some reads fail"
)

var diskFaults = []string{diskFails, diskBroken, diskFull, diskReads}

// readOnly contains the read-only calls.
var readOnly = map[string]bool{"lstat": true, "readlink": true, "readdir": true, "read": true}

// fault chooses the outcome of a call. mu is held.
func (l *life) fault(op, name string) string {
	if !l.deadly && l.diskFault == "" {
		return ""
	}
	name = l.plain(name)
	if readOnly[op] {
		if l.diskFault == diskReads && l.dice.roll("look", op, name) < 0.05 && (l.reread != nil || !l.failed) {
			l.misread(op, name)
			return syscall.EIO.Error()
		}
		return ""
	}
	if l.deadly && l.dice.roll("kill", op, name) < 0.03 {
		return either(l.dice.roll("killed", op, name), killBefore, killAfter)
	}
	switch l.diskFault {
	case diskFull:
		if op == "create" || op == "write" || op == "mkdir" || op == "symlink" {
			return noSpace
		}
	case diskFails, diskBroken:
		share := 0.05
		if l.diskFault == diskBroken {
			share = 0.6
		}
		if l.dice.roll("fail", op, name) < share {
			return either(l.dice.roll("failed", op, name), notDone, done)
		}
	}
	return ""
}

// misread records the knowledge that a life lacks because of a read error. At most one
// such fault occurs at its start, because a life cannot recover half of a volume. mu is held.
func (l *life) misread(op, name string) {
	l.failed = true
	if op != "read" {
		return
	}
	l.blind = l.blind || name == generation.NotifiedFile
	if strings.HasSuffix(name, ".json") && name != generation.NotifiedFile {
		l.reader.Misread()
	}
}

func either(dice float64, a, b string) string {
	if dice < 0.5 {
		return a
	}
	return b
}
