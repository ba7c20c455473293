// Package filewatchers shows that what already follows a Secret volume follows
// ours: other people's file watchers, as they are, through 20 rotations.
//
// The rotations come faster than old generations go. That is the trap for whoever
// watches a file's inode: it stays where it is, unchanged, with no event for
// the new one, unless the writer sees to it.
package filewatchers

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	rotations = 20
	pace      = 100 * time.Millisecond // between two; a generation is kept for 10 s
	within    = time.Second            // a watcher has to have seen a rotation
)

// consumers are the programs that follow the volume. They begin before they return, and call
// seen, from any goroutine, for what they have read each time they have read it.
// With the build tag programs, watchdog is one more: it needs Debian's package.
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
	nested bool // only there
}

func TestWatchersFollowEveryRotation(t *testing.T) {
	for _, layout := range []string{"nested", "flat"} {
		for _, c := range consumers {
			if c.nested && layout != "nested" {
				continue
			}
			t.Run(layout+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				v := newVolume(t, layout == "flat")
				values := make(chan string, 10_000)
				c.follow(t, v, func(value string) { values <- value })
				follow(t, v, values)
			})
		}
	}
}

// follow rotates and waits each time until the consumer has the new value. In
// between another Secret changes: that exchanges every file for one with the same
// content, and a consumer that misses it stays with the old inodes.
func follow(t *testing.T, v volume, values <-chan string) {
	clock := time.NewTicker(pace)
	defer clock.Stop()
	var took []time.Duration
	value := 1 // newVolume's
	for range rotations {
		<-clock.C
		value++
		took = append(took, v.rotate(t, value, values))
		if value%5 == 0 {
			<-clock.C
			v.publishOther(t, value)
		}
	}
	// Faster than anyone follows: what is in between may be missed, the last not.
	for range 5 {
		value++
		v.publish(t, value)
	}
	await(t, values, strconv.Itoa(value), time.Now())
	slices.Sort(took)
	t.Logf("publish → seen: p50 %v, max %v", took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
}

// rotate publishes a value and gives the time from then until it was seen.
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
			t.Fatalf("%v after the publish of %s: seen was %s", within, want, last)
		}
	}
}
