// Package notifier tells the app that a generation was published: by a signal
// to a process, a call of a webhook, a command.
package notifier

import "context"

// Changes is what a target is told: the body of the webhook and the standard
// input of the command, as JSON. It has names of Secrets and paths below the
// volume, never values.
type Changes struct {
	Generation uint64   `json:"generation"`
	Secrets    []string `json:"secrets"`
	Added      []string `json:"added"`
	Changed    []string `json:"changed"`
	Removed    []string `json:"removed"`
}

// Target is one way to tell the app.
type Target interface {
	// Name is "process", "webhook" or "exec": the key of its record and the
	// label of its metrics.
	Name() string
	// Tell returns nil once the app has been told.
	Tell(ctx context.Context, changes Changes) error
}

// Volume is what the notifier has to know of the volume. Its methods are safe
// for concurrent use and see what is published, never what is about to be.
type Volume interface {
	// Newest is the number of the generation in the volume, 0 for none.
	Newest() uint64
	// ChangesSince tells what changed from generation told to the newest one;
	// all paths count as changed where that is not known.
	ChangesSince(told uint64) Changes
	// Told is the generation that the target was told last; known is false for
	// a target that has no record.
	Told(target string) (generation uint64, known bool)
	// SetTold keeps it, on disk when it returns nil.
	SetTold(target string, generation uint64) error
}
