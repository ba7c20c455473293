package candidate

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Volumes reports the time of every publish in a number of volumes.
type Volumes struct {
	*fsnotify.Watcher
	published chan published
}

type published struct {
	dir string
	at  time.Time
	err error
}

// Follow reports publishes from now on. The caller must call Close.
func Follow(dirs ...string) (*Volumes, error) {
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil {
			return nil, err
		}
	}
	v := &Volumes{w, make(chan published, 4096)}
	go v.record()
	return v, nil
}

// record stores the time of every publish until Close. It does not depend on the speed of
// the caller of Next.
func (v *Volumes) record() {
	for {
		select {
		case e, open := <-v.Events:
			if !open {
				return
			}
			if e.Has(fsnotify.Create) && strings.HasSuffix(e.Name, "/..data") {
				v.published <- published{filepath.Dir(e.Name), time.Now(), nil}
			}
		case err, open := <-v.Errors:
			if !open {
				return
			}
			v.published <- published{err: err}
		}
	}
}

// Next waits for the next publish and returns its volume and time.
func (v *Volumes) Next(ctx context.Context) (dir string, at time.Time, err error) {
	select {
	case p := <-v.published:
		return p.dir, p.at, p.err
	case <-ctx.Done():
		return "", time.Time{}, ctx.Err()
	}
}
