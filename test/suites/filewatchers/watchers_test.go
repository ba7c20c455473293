// Package filewatchers checks whether existing file watchers can follow a volume of
// secret-sync without changes, through 20 rotations.
//
// The rotations are faster than the removal of old generations. A watch on the
// inode of a file would then miss changes: the old inode remains and causes no event, unless
// the writer causes events on purpose.
package filewatchers

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/writer/generation"
)

const (
	rotations = 20
	pace      = 100 * time.Millisecond // between two rotations; a generation is kept for 10 s
	within    = 5 * time.Second        // the time limit for a watcher to see a rotation; the removal is later
)

// consumers are the programs that follow the volume. Each is ready when its function returns.
// It calls seen from any goroutine with the content of every read. The build tag programs
// adds watchdog, which requires Debian's package.
var consumers = []consumer{
	{name: "certwatcher", follow: certwatcherFollow},
	{name: "viper", follow: viperFollow},
	{name: "inotify on the file", follow: inotifyFile},
	{name: "inotify on DIR", follow: inotifyVolume},
	{name: "inotify on DIR/SECRET", follow: inotifySecret, nested: true},
	{name: "mtime and inode polled, as by nginx", follow: pollSeconds},
	{name: "mtime polled", follow: pollModified},
	{name: "examples/app/pool", follow: poolFollow},
}

type consumer struct {
	name   string
	follow func(t *testing.T, v volume, seen func(value string))
	nested bool // supports only the nested layout
}

// TestWatchers_everyRotation runs each consumer in each layout.
func TestWatchers_everyRotation(t *testing.T) {
	for _, layout := range []generation.Layout{generation.Nested, generation.Flat} {
		for _, c := range consumers {
			if c.nested && layout != generation.Nested {
				continue
			}
			t.Run(string(layout)+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				v := newVolume(t, layout)
				values := make(chan string, 10_000)
				c.follow(t, v, func(value string) { values <- value })
				follow(t, v, values)
			})
		}
	}
}

// follow rotates and waits each time until the consumer reads the new value. In between,
// another Secret changes. This replaces every file by a file with the same content. If a
// consumer misses the replacement, it keeps watching the old inodes.
func follow(t *testing.T, v volume, values <-chan string) {
	clock := time.NewTicker(pace)
	defer clock.Stop()
	var took []time.Duration
	value := 1 // the value of newVolume
	for range rotations {
		<-clock.C
		value++
		took = append(took, v.rotate(t, value, values))
		if value%5 == 0 {
			<-clock.C
			v.publishOther(t, value)
		}
	}
	// Rotate faster than a consumer can follow. It may miss values, but not the last value.
	for range 5 {
		value++
		v.publish(t, value)
	}
	await(t, values, strconv.Itoa(value), time.Now())
	slices.Sort(took)
	t.Logf("publish → seen: p50 %v, max %v",
		took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
}

// rotate publishes a value and returns the time until the consumer reads it.
func (v volume) rotate(t *testing.T, value int, values <-chan string) time.Duration {
	t.Helper()
	began := time.Now()
	v.publish(t, value)
	await(t, values, strconv.Itoa(value), began)
	return time.Since(began)
}

func await(t *testing.T, values <-chan string, want string, began time.Time) {
	t.Helper()
	deadline := time.NewTimer(within - time.Since(began))
	defer deadline.Stop()
	last := "nothing new"
	for {
		select {
		case got := <-values:
			if got == want {
				return
			}
			last = got
		case <-deadline.C:
			t.Fatalf("%v after the publish of %s: the consumer reads %s", within, want, last)
		}
	}
}
