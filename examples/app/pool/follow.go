package pool

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// Follow pokes the channel when the files in dir were exchanged, until ctx ends:
// for an app that nothing notifies. The channel should have room for one. It
// pokes once at the start, for a change between the app's first read and the watch.
func Follow(ctx context.Context, dir string, poke chan<- struct{}) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	defer w.Close()
	// The folder, not the files: those are never written, they are exchanged.
	if err := w.Add(dir); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	for {
		select {
		case poke <- struct{}{}:
		default: // it is poked already and will read what is newest
		}
		if err := nextExchange(ctx, w); err != nil {
			return err
		}
	}
}

// nextExchange waits for an event that names ..data. Which kind of event it is
// differs between systems; an overflow of the queue may have hidden one.
func nextExchange(ctx context.Context, w *fsnotify.Watcher) error {
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
