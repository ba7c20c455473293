package writer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// Publish makes content visible to apps and returns the number of its generation. If nothing changed, it may repair the
// volume and write the record (confirm). After an error, apps see the same files as before. If ctx ends, Publish stops
// before the next file. The next process then removes the rest, or completes a first publish.
func (w *Writer) Publish(ctx context.Context, content generation.Content) (number uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if content, err = w.vol.AddUnread(w.current.Load(), content); err != nil {
		return 0, w.vol.Explain(fmt.Errorf("publish in %q: %w", w.opts.Dir, err))
	}
	rec, changed := w.current.Load().Next(generation.Request{
		Content: content, Layout: w.opts.Layout, FileMode: w.opts.FileMode,
		Number: w.last + 1, TrustVersions: w.uncertain.unconfirmed,
	})
	if !changed {
		return rec.Generation, w.confirm(ctx, rec, content)
	}
	if err := rec.Validate(); err != nil {
		return 0, fmt.Errorf("publish in %q: %w", w.opts.Dir, err)
	}
	if err := w.replace(ctx, rec, content); err != nil {
		return 0, err
	}
	w.uncertain.unconfirmed = false
	return rec.Generation, nil
}

// confirm stores the completeness and the UIDs in rec. If the files of the current generation
// were only read from the volume, confirm first repairs differences from content.
func (w *Writer) confirm(ctx context.Context, rec generation.Record, content generation.Content) error {
	cur := w.current.Load()
	if w.uncertain.unconfirmed {
		w.current.Store(generation.New(cur.Dir, cur.Record, content))
		if _, err := w.reconcile(ctx); err != nil {
			return err
		}
	} else if rec.Complete == cur.Record.Complete && rec.SameUIDs(cur.Record) {
		return nil // a change of metadata writes nothing
	}
	confirmed := generation.New(w.current.Load().Dir, rec, content)
	if _, err := w.restore(confirmed.RecordFile); err != nil {
		return w.vol.Explain(fmt.Errorf("write the record of generation %d in %q: %w", rec.Generation, w.opts.Dir, err))
	}
	w.current.Store(confirmed)
	w.uncertain.unconfirmed = w.uncertain.unconfirmed && !content.Complete
	return nil
}

// replace publishes rec and content in the place of the current generation.
//
// These are the system calls in their order, with the view of readers and the rest after a crash. TIME is the directory
// of the new generation, OLD of the replaced one. If a step up to 7 fails, replace tries to remove the new entries.
// After a crash or the end of ctx, the next process does, or completes a first publish after step 4.
//
//  1. Before the first generation, the record of notifications: create, write and fsync under a temporary name, rename,
//     fsync DIR. Then mkdir TIME.
//  2. In TIME, parents first: mkdir of each directory; for each file open(O_CREAT|O_EXCL), chmod, write, fsync, close.
//     Where the umask or a default ACL reduced the mode of a directory, also chmod.
//  3. fsync of each directory in TIME, children first, and of TIME.
//  4. The record TIME.json beside it, with the calls of step 2.
//     Readers: nothing points to an entry of steps 1 to 4.
//     A crash leaves files that may be truncated, or a generation with a higher number than OLD.
//  5. The links that OLD lacks, and while a retry is pending also the links of OLD: symlink under a temporary name,
//     rename, fsync of the directory. Before the links of a new Secret, likewise: mkdir, symlink ..data, fsync, rename.
//     Readers: new links dangle until step 7; no old link changes.
//  6. fsync DIR: everything survives a power failure before anything points to it.
//  7. symlink ..data_tmp to TIME, rename over ..data.
//     Readers: all files of OLD before the rename, all files of TIME after it.
//  8. fsync DIR. OLD stays until this succeeds.
//     A power failure leaves OLD or TIME, both complete. If it leaves OLD, the next generation gets the number of TIME
//     again. No target counts as notified of this number: the fsync after such a record would have kept TIME.
//  9. In the nested layout, in the directory of each changed Secret: symlink ..data_tmp, rename over ..data, with the
//     target unchanged.
//     Readers: no difference. Watches on the directory wake. If a crash prevents this, these watches miss the change.
//     The next process notifies the targets.
//  10. chmod of OLD's files to their present mode: watches on the files wake.
//  11. If the links, the directories of Secrets or their modes differ from OLD's: steps 2 and 3 of reconcile. They
//     create the entries omitted in step 5, unlink stale links, rename the directories of removed Secrets to the
//     name of an unpublished generation, sync DIR and remove them.
//     Readers: links disappear. They have dangled since step 7.
//  12. Old generations after their grace period: unlink, the record last, or first after a restart.
//     Readers: a descriptor from before the grace period returns ENOENT.
//     A crash leaves a part. With a record, the next start gives it another grace period, else the sweep removes it.
func (w *Writer) replace(ctx context.Context, rec generation.Record, content generation.Content) error {
	old, next := w.current.Load(), generation.New(w.vol.FreshName(w.now()), rec, content)
	err := w.makeRoom(func() error {
		err := w.swap(ctx, old, next) // 1 to 7
		if err != nil && ctx.Err() == nil {
			w.discard(ctx, next)
			w.reconcileOutside(ctx)
		}
		return err
	})
	if err != nil {
		return w.vol.Explain(fmt.Errorf("publish generation %d in %q: %w", rec.Generation, w.opts.Dir, err))
	}
	w.current.Store(next)
	w.used(rec.Generation)
	// The publish has succeeded, so failures are logged and retried. Watches before the swap cost a tenth of the time
	// from the event to the files (40 of 350 µs). The sweep finds earlier changes by another process.
	w.watchDirs(generation.Dirs(next.Inside)...)
	w.syncSwap()                 // 8
	w.wakeDirectories(old, next) // 9
	w.wakeFiles(old)             // 10
	if !old.Empty() {
		w.old = append(w.old, retired{old.Dir, w.now(), old.DiskSize(), old.Paths()})
	}
	if !next.SameOutside(old) {
		w.reconcileOutside(ctx) // 11
	}
	w.collect() // 12
	return nil
}

// discard removes a generation after its swap failed. Step 3 of reconcile would remove it later. But step 2 can fail
// for a long time, and each attempt of a publish writes another copy of all files.
func (w *Writer) discard(ctx context.Context, failed *generation.Generation) {
	target, err := w.vol.Readlink(generation.DataLink)
	if target == failed.Dir || err != nil && !volume.NotALink(err) {
		return // the swap may have taken effect
	}
	_, _ = w.vol.RemoveOwn(failed.Dir, volume.Limit(ctx)) // the sweep retries it
}

// swap makes steps 1 to 7 of replace.
func (w *Writer) swap(ctx context.Context, old, next *generation.Generation) error {
	if len(next.RecordFile.Data) > generation.MaxRecord { // otherwise step 4 fails, after all files were written
		return volume.ErrTooLarge
	}
	if old.Empty() { // 1
		if err := w.vol.CheckFree(w.opts.Dir, next.Outside); err != nil {
			return err
		}
		if _, err := w.restore(w.notified.Entry(w.opts.FileMode)); err != nil {
			return err
		}
	}
	for _, e := range next.Inside { // 1, 2
		if err := errors.Join(ctx.Err(), w.vol.Add(e)); err != nil {
			return err
		}
	}
	for _, dir := range slices.Backward(generation.Dirs(next.Inside)) { // 3
		if err := w.vol.SyncDir(dir); err != nil {
			return err
		}
	}
	if err := w.vol.Add(next.RecordFile); err != nil { // 4
		return err
	}
	links := next.Added(old) // 5
	if !w.uncertain.retryAt.IsZero() {
		links = append(links, old.Outside...)
	}
	if _, err := w.restore(links...); err != nil {
		return err
	}
	if err := w.vol.SyncDir("."); err != nil { // 6
		return err
	}
	swap := w.opts.Swap
	if next.Record.Generation == old.Record.Generation {
		swap = swapNow // a repair changes no value, so it disturbs no app
	}
	if err := swap(ctx, func() error { return w.vol.Replace(next.Link()) }); err != nil { // 7
		return err
	}
	w.uncertain.unreachable.Store(false)
	w.uncertain.unsynced["."] = true
	return nil
}

// makeRoom repeats an operation while the volume is full. Before each repetition it removes the oldest replaced
// generation, even the last one in its grace period.
func (w *Writer) makeRoom(operation func() error) error {
	for {
		if err := operation(); !volume.NoSpace(err) || !w.removeOldest(volume.Limit(context.Background())) {
			return err
		}
	}
}

// syncSwap is step 8. It syncs all directories with changes, and reports whether the swap is on disk.
func (w *Writer) syncSwap() bool {
	w.retryLater("could not sync the volume after a publish, will retry", ".", w.syncChanged())
	return !w.uncertain.unsynced["."]
}

// wakeDirectories is step 9, also for new Secrets, whose directories exist since step
// 5. A repair wakes the watches on all directories.
func (w *Writer) wakeDirectories(old, next *generation.Generation) {
	number := next.Record.Generation
	for _, e := range next.Outside {
		dir := path.Dir(e.Path)
		if path.Base(e.Path) != generation.DataLink ||
			old.Record.Generation != number && next.Record.Secrets[dir].Generation != number {
			continue
		}
		err := w.makeRoom(func() error { return w.vol.Replace(e) })
		if !volume.Missing(err) { // an event or the sweep finds a missing directory; step 11 replaces a link
			w.retryLater("could not wake the watches on a directory", dir, err)
		}
	}
}

// wakeFiles is step 10. Nothing else would wake the watches on replaced files.
func (w *Writer) wakeFiles(old *generation.Generation) {
	w.events.forget(generation.Dirs(old.Inside)...)
	if err := w.vol.Touch(old.Inside); err != nil {
		w.opts.Logger.Debug("could not wake the watches on replaced files", "path", old.Dir, "err", err)
	}
}
