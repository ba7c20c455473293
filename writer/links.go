package writer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// refuseTaken tells whether a volume that holds nothing of ours has other
// entries where we need names: then it is somebody else's, and is left as it is.
func (w *Writer) refuseTaken(want map[string]string) error {
	var taken []error
	seen := map[string]bool{}
	for _, name := range sortedKeys(want) {
		top := topOf(name)
		if seen[top] {
			continue
		}
		seen[top] = true
		info, err := w.vol.Lstat(top)
		if errors.Is(err, fs.ErrNotExist) || err == nil && w.leftover(top, info) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at %q: %w", top, err)
		}
		taken = append(taken, fmt.Errorf("%w: %q is needed and taken by a %s that secret-sync did not make: use an empty volume, or another SECRETSYNC_DIR",
			ErrUnusable, path.Join(w.opts.Dir, top), kind(info.Mode())))
	}
	return errors.Join(taken...)
}

// leftover tells whether an entry is from a first publish that did not come to
// its end: a link of ours, or a Secret's directory.
func (w *Writer) leftover(name string, info fs.FileInfo) bool {
	if info.IsDir() {
		return w.isSecretDir(name)
	}
	return w.isOwnLink(name)
}

// topOf is the first element of a path.
func topOf(name string) string {
	for path.Dir(name) != "." {
		name = path.Dir(name)
	}
	return name
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m.IsRegular():
		return "file"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	default:
		return "special file"
	}
}

// addLinks makes each link of want that is not in have, and only those, on
// disk but for what is directly in DIR. A link of have in the place of a Secret's
// directory (the other layout's) stays: it leads apps on until the swap, and from
// it on to the same files as the directory will.
func (w *Writer) addLinks(want, have map[string]string, fileMode fs.FileMode) error {
	fresh, grown := map[string]map[string]string{}, map[string]bool{} // by the Secret's directory
	var missing []string
	for name, target := range want {
		if have[name] != target && have[path.Dir(name)] == "" {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	for _, name := range missing {
		dir := path.Dir(name)
		if dir != "." {
			if fresh[dir] == nil && !w.isDir(dir) {
				fresh[dir] = map[string]string{}
			}
			if fresh[dir] != nil {
				fresh[dir][path.Base(name)] = want[name]
				continue
			}
			grown[dir] = true
		}
		if err := w.place(name, want[name]); err != nil {
			return err
		}
	}
	for _, dir := range sortedKeys(grown) {
		if err := w.finishSecretDir(dir, fileMode); err != nil {
			return err
		}
	}
	for _, dir := range sortedKeys(fresh) {
		if err := w.makeSecretDir(dir, fresh[dir], fileMode); err != nil {
			return err
		}
		w.inotify.followDir(dir)
	}
	return nil
}

// finishSecretDir syncs a Secret's directory that has new links. One that
// somebody else made gets our mode first.
func (w *Writer) finishSecretDir(dir string, fileMode fs.FileMode) error {
	if cur := w.current.Load(); cur == nil || cur.record.FileMode == fileMode { // a new mode comes with step 9
		if err := w.setDirMode(dir, fileMode); err != nil {
			return fmt.Errorf("set the mode of a Secret's directory: %w", err)
		}
	}
	if err := w.vol.SyncDir(dir); err != nil {
		return fmt.Errorf("sync the directory of a Secret: %w", err)
	}
	return nil
}

func (w *Writer) isDir(name string) bool {
	info, err := w.vol.Lstat(name)
	return err == nil && info.IsDir()
}

// makeSecretDir makes a Secret's directory with all its links and puts it in
// place whole, so that a crash never leaves a directory that cannot be told
// from somebody else's.
func (w *Writer) makeSecretDir(dir string, links map[string]string, fileMode fs.FileMode) error {
	if err := w.removeAll(linkTemp); err != nil {
		return fmt.Errorf("remove a stale directory: %w", err)
	}
	if err := w.mkdir(linkTemp, fileMode); err != nil {
		return fmt.Errorf("make the directory of a Secret: %w", err)
	}
	for _, base := range sortedKeys(links) {
		if err := w.vol.Symlink(links[base], path.Join(linkTemp, base)); err != nil {
			return fmt.Errorf("make a link: %w", err)
		}
	}
	if err := w.vol.SyncDir(linkTemp); err != nil {
		return fmt.Errorf("sync the directory of a Secret: %w", err)
	}
	if err := w.removeAll(dir); err != nil { // a link or a file that someone put there
		return fmt.Errorf("take back %q: %w", dir, err)
	}
	if err := w.vol.Rename(linkTemp, dir); err != nil {
		return fmt.Errorf("rename the directory of a Secret into place: %w", err)
	}
	return nil
}

// place makes one link right, whatever has its name: one that is right is left
// alone, and in a volume of ours the names that we need are ours.
func (w *Writer) place(name, target string) error {
	if w.leads(name, target) {
		return nil
	}
	if !w.isGone(name) {
		return w.lead(name, target)
	}
	if err := w.vol.Symlink(target, name); err != nil {
		return fmt.Errorf("make a link: %w", err)
	}
	return nil
}

// dropLinks removes what only the old links had: links, and directories of
// Secrets with all that is in them.
func (w *Writer) dropLinks(old, want map[string]string) {
	kept := map[string]bool{}
	for name := range want {
		kept[topOf(name)] = true
	}
	for _, name := range sortedKeys(old) {
		top := topOf(name)
		if _, ok := want[name]; ok || top == name && kept[top] { // the latter is in the place of a directory to come
			continue
		}
		if top != name && !kept[top] {
			kept[top] = true // once
			w.inotify.forgetDir(top)
			w.warn("could not remove the directory of a Secret that is gone, will try again", top, w.removeSecretDir(top))
			continue
		}
		if w.isOwnLink(name) {
			w.warn("could not remove the link of a key that is gone, will try again", name, w.vol.Remove(name))
		}
	}
}

// removeSecretDir removes a Secret's directory, and says first that it goes:
// without its "..data" it would be taken for somebody else's after a crash in
// the middle.
func (w *Writer) removeSecretDir(name string) error {
	if !w.isSecretDir(name) {
		return nil
	}
	if err := w.removeAll(linkTemp); err != nil {
		return err
	}
	if err := w.vol.Rename(name, linkTemp); err != nil {
		return err
	}
	// Without this, a power cut may undo the rename and not the removals.
	if err := w.vol.SyncDir("."); err != nil {
		return err
	}
	return w.removeAll(linkTemp)
}

// isOwnLink tells whether name is a link as we make them.
func (w *Writer) isOwnLink(name string) bool {
	target, err := w.vol.Readlink(name)
	return err == nil && target == ownTarget(name)
}

// isSecretDir tells whether name is a directory that we made for a Secret.
func (w *Writer) isSecretDir(name string) bool {
	return w.isDir(name) && w.isOwnLink(path.Join(name, dataLink))
}

// removeAll removes name and what is below it; that it is not there is no
// error. It follows no link.
func (w *Writer) removeAll(name string) error {
	info, err := w.vol.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return w.removeDir(name, info)
	}
	return w.remove(name)
}

// removeDir removes a directory and what is below it. One whose mode keeps us
// out (planted: ours always let us in) is opened up first.
func (w *Writer) removeDir(name string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o700 != 0o700 {
		if err := w.vol.Chmod(name, 0o700); err != nil {
			return err
		}
	}
	release, _ := w.vol.Hold(name)
	defer release()
	entries, err := w.vol.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		remove := w.remove
		if e.IsDir() {
			remove = w.removeAll
		}
		if err := remove(path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return w.remove(name)
}

func (w *Writer) remove(name string) error {
	if err := w.vol.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
