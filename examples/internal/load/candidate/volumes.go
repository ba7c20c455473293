package candidate

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Volumes sees the moment at which a new generation is published in each of
// many volumes.
type Volumes struct{ *fsnotify.Watcher }

// Follow sees what is published from now on. The caller has to Close it.
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
	return &Volumes{w}, nil
}

// Next waits for the next publish, and gives its volume and when it was.
func (v *Volumes) Next(ctx context.Context) (dir string, at time.Time, err error) {
	for {
		select {
		case e := <-v.Events:
			if e.Has(fsnotify.Create) && strings.HasSuffix(e.Name, "/..data") {
				return filepath.Dir(e.Name), time.Now(), nil
			}
		case err := <-v.Errors:
			return "", time.Time{}, err
		case <-ctx.Done():
			return "", time.Time{}, ctx.Err()
		}
	}
}
