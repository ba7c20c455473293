package pool

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// Follow sends on changed after each rotation of the files in dir until ctx ends. Use
// it in an app without a notification. Follow never blocks on the channel, which should
// have a capacity of one. It sends a first time as soon as the watch works, because the
// files may have changed between the first read and the watch.
func Follow(ctx context.Context, dir string, changed chan<- struct{}) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	defer w.Close()
	// Watch the directory. The files are never written; a rotation replaces a link.
	if err := w.Add(dir); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	for {
		select {
		case changed <- struct{}{}:
		default: // the receiver has not read the previous change yet, and will find the newest files
		}
		if err := nextRotation(ctx, w); err != nil {
			return err
		}
	}
}

// nextRotation waits for an event on ..data. It accepts every kind of event, because
// systems differ in the kind they report. After an error, events may be lost.
func nextRotation(ctx context.Context, w *fsnotify.Watcher) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-w.Events:
			if filepath.Base(e.Name) == "..data" {
				return nil
			}
		case <-w.Errors:
			return nil
		}
	}
}
