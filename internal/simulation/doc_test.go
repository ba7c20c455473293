// Package simulation has tests only: watcher, layout, writer, notifier and the
// pipeline that joins them, in one process with a fake clock, against an API
// server, a volume and apps that are all in memory.
//
// A seed decides all that happens: changes of Secrets, stale, repeated, reordered
// and skipped events of their watches, errors of the API server and of the file
// system, harm that someone does in the volume, apps that cannot be notified,
// kills at any call on the volume, and restarts. After every call on the volume
// a reader looks at it (reader_test.go). In the end all faults stop, and the
// volume has to become what the API has, every app has to be notified of it,
// and then nothing more may happen (converge_test.go).
//
// The client of the API is the real one. It reaches an HTTP server of this
// package over connections in memory, because synctest's clock stands still
// while a goroutine waits for a real socket.
//
// The clock is fake and there is one processor, but Go's maps and selects, and a
// pause of some milliseconds before a new list, differ from run to run. So each
// decision comes from the seed and from what it is about, not from the order in
// which questions are asked. Of sixty seeds, 54 take the same course twice, call for
// call, but for the order at one instant; the others end up the same.
package simulation
