package writer

import (
	"context"
	"errors"
	"log/slog"

	"github.com/secret-sync/secret-sync/writer/volume"
)

// Reason classifies an error of Publish in a single word, for a metric.
func Reason(err error) string { return volume.Reason(err) }

const (
	foreignEntry = "leaving unknown entry in the volume"
	maxWarned    = 64 // remembered warnings
)

// retryLater logs a failure and schedules a repair. The failure affects no file of
// the current generation.
func (w *Writer) retryLater(msg, path string, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	if w.uncertain.retryAt.IsZero() {
		w.uncertain.retryAt = w.now().Add(retryAfter)
		w.arm()
	}
	w.warnOnce(msg, path, "err", err)
}

// warnOnce logs a warning for path unless it has already done so. A complete repair
// resets all warnings except those about foreign entries.
func (w *Writer) warnOnce(msg, path string, args ...any) {
	level := slog.LevelDebug
	if _, done := w.warned[msg+path]; !done && len(w.warned) < maxWarned {
		w.warned[msg+path] = msg == foreignEntry
		level = slog.LevelWarn
	}
	w.log.Log(context.Background(), level, msg, append(args, "path", path)...)
}
