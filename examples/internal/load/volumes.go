package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// volumes sees the moment at which a new generation is published in each of
// many volumes.
type volumes struct{ *fsnotify.Watcher }

func follow(dirs ...string) (*volumes, error) {
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil {
			return nil, err
		}
	}
	return &volumes{w}, nil
}

// next waits for the next publish, and gives its volume and when it was.
func (v *volumes) next(ctx context.Context) (dir string, at time.Time, err error) {
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
