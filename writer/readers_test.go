package writer

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// counted contains the results of the readers.
type counted struct {
	reads, torn, partial, gone, goneEarly atomic.Int64
}

// payload says in each file which set it is from, from its first byte to its last.
func payload(n int) string { return fmt.Sprintf("%08d %s %08d", n, strings.Repeat("x", 300), n) }

func numberIn(data string) (int, bool) {
	if len(data) != len(payload(0)) || data[:8] != data[len(data)-8:] {
		return 0, false
	}
	n, err := strconv.Atoi(data[:8])
	return n, err == nil
}

// read opens ..data once and reads both files below that handle.
func (c *counted) read(dir string, names [2]string, published *atomic.Int64) {
	before := published.Load()
	fd, err := unix.Open(filepath.Join(dir, generation.DataLink), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		c.miss(published.Load() - before)
		return
	}
	defer unix.Close(fd)
	var numbers [2]int
	for i, name := range names {
		data, err := readAt(fd, name)
		if errors.Is(err, unix.ENOENT) {
			c.miss(published.Load() - before)
			return
		}
		n, whole := numberIn(data)
		if err != nil || !whole {
			c.partial.Add(1)
			return
		}
		numbers[i] = n
	}
	if numbers[0] != numbers[1] {
		c.torn.Add(1)
	}
	c.reads.Add(1)
}

// miss counts a missing file. It is early if fewer generations have been published
// meanwhile than are kept of the same size.
func (c *counted) miss(meanwhile int64) {
	c.gone.Add(1)
	if meanwhile < maxOld-1 {
		c.goneEarly.Add(1)
	}
}

func readAt(dirfd int, name string) (string, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	return string(buf[:max(n, 0)]), err
}

// beside runs readers beside a writer, with a pause after each publish, until
// there were so many reads.
func beside(t *testing.T, pause time.Duration, reads int64, names [2]string, set func(n int) Content) (c *counted,
	publishes int64) {
	dir := testsupport.MemoryDir(t)
	opts := quiet(testOptions(t, dir))
	opts.now = time.Now
	w := opened(t, opts)
	c = &counted{}
	var published atomic.Int64
	publish(t, w, set(0))
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for c.reads.Load() < reads && !t.Failed() {
				c.read(dir, names, &published)
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	ticker := time.NewTicker(max(pause, 1))
	defer ticker.Stop()
	for n := 1; ; n++ {
		publish(t, w, set(n))
		published.Store(int64(n))
		if pause > 0 {
			select {
			case <-done:
			case <-ticker.C:
			}
		}
		select {
		case <-done:
			return c, published.Load()
		default:
		}
	}
}

func TestReaders_besideAWriter(t *testing.T) {
	reads := int64(100_000)
	if testing.Short() {
		reads = 10_000
	}
	for _, tt := range []struct {
		name  string
		pause time.Duration
		names [2]string
		set   func(n int) Content
	}{
		{"two files of one Secret", time.Second / 300, [2]string{"db/user", "db/password"}, func(n int) Content {
			return one("db", files(fmt.Sprint(n), "user", payload(n), "password", payload(n)))
		}},
		{"two Secrets", time.Second / 300, [2]string{"a/key", "b/key"}, func(n int) Content {
			return two("a", files(fmt.Sprint(n), "key", payload(n)), "b", files(fmt.Sprint(n), "key", payload(n)))
		}},
		{"at full speed", 0, [2]string{"db/user", "db/password"}, func(n int) Content {
			return one("db", files(fmt.Sprint(n), "user", payload(n), "password", payload(n)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			c, publishes := beside(t, tt.pause, reads, tt.names, tt.set)
			t.Logf("%d reads beside %d publishes, %.0f a second: %d torn, %d partial, %d ENOENT,"+
				" %d of them within the grace",
				c.reads.Load(), publishes, float64(publishes)/time.Since(began).Seconds(), c.torn.Load(),
				c.partial.Load(), c.gone.Load(), c.goneEarly.Load())
			// A reader gets ENOENT if it was off the processor while 16
			// generations passed: on a busy machine this happens, at 300 a second
			// too.
			if c.torn.Load()+c.partial.Load()+c.goneEarly.Load() > 0 {
				t.Error("a reader saw what it must not")
			}
		})
	}
}
