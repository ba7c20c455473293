package writer

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// wound is something of ours that is not as it should be.
type wound struct {
	path    string
	content bool // in the generation: only a new directory mends it
}

// inspect lists what is not as it should be: changed, missing, led elsewhere, or
// not ours.
func (w *Writer) inspect(cur *generation) (wounds []wound) {
	for _, p := range w.brokenContent(cur) {
		wounds = append(wounds, wound{p, true})
	}
	suspects := map[string]bool{
		dataLink:            w.leads(dataLink, cur.dir),
		recordName(cur.dir): w.recordIntact(cur),
		notifyFile:          w.toldIntact(),
	}
	for name, target := range cur.links() {
		suspects[name] = w.leads(name, target)
	}
	for _, name := range cur.secretDirs() {
		suspects[name] = w.modeIntact(name, cur.record.FileMode)
	}
	for _, p := range sortedKeys(suspects) {
		if intact := suspects[p]; !intact {
			wounds = append(wounds, wound{p, false})
		}
	}
	return wounds
}

// brokenContent lists what differs in the generation's directory, also what
// does not belong there.
func (w *Writer) brokenContent(cur *generation) (broken []string) {
	dirs, files := contents(cur.dir, cur.record.Flat, cur.set)
	expected := map[string]bool{}
	for _, d := range dirs {
		expected[d] = true
		if !w.modeIntact(d, cur.record.FileMode) {
			broken = append(broken, d)
		}
	}
	for name, value := range files {
		expected[name] = true
		if !w.fileIntact(cur, name, value) {
			broken = append(broken, name)
		}
	}
	for _, d := range dirs {
		entries, _ := w.vol.ReadDir(d) // what is not there was found above
		for _, e := range entries {
			if p := path.Join(d, e.Name()); !expected[p] {
				broken = append(broken, p)
			}
		}
	}
	return broken
}

func (w *Writer) fileIntact(cur *generation, name string, value secret.Value) bool {
	info, err := w.vol.Lstat(name)
	if err != nil || info.Mode() != cur.record.FileMode || info.Size() != int64(len(value)) {
		return false
	}
	data, err := w.vol.ReadFile(name)
	return err == nil && value.Equal(data)
}

// modeIntact tells whether name is a directory of the mode that it was made with.
func (w *Writer) modeIntact(name string, fileMode fs.FileMode) bool {
	info, err := w.vol.Lstat(name)
	return err == nil && info.IsDir() && info.Mode().Perm() == dirMode(fileMode)
}

func (w *Writer) leads(name, target string) bool {
	got, err := w.vol.Readlink(name)
	return err == nil && got == target
}

func (w *Writer) recordIntact(cur *generation) bool {
	name := recordName(cur.dir)
	info, err := w.vol.Lstat(name)
	return err == nil && info.Mode() == cur.record.FileMode && w.holdsJSON(name, cur.record)
}

func (w *Writer) toldIntact() bool {
	if len(w.told) == 0 && !w.toldLost {
		return true
	}
	return w.holdsJSON(notifyFile, toldRecord{Format: recordFormat, Told: w.told, Lost: w.toldLost})
}

func (w *Writer) holdsJSON(name string, record any) bool {
	want, err := json.Marshal(record)
	if err != nil {
		return true
	}
	got, err := w.vol.ReadFile(name)
	return err == nil && bytes.Equal(got, want)
}
