package writer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"

	"github.com/secret-sync/secret-sync/writer/generation"
)

// payloadOf gives a Secret with so many keys of so many bytes, other ones for
// each n.
func payloadOf(n, keys, size int) Content {
	f := Files{UID: "uid", ResourceVersion: itoa(n), Values: map[string]secret.Value{}}
	for k := range keys {
		f.Values[fmt.Sprintf("key%d", k)] = secret.Value(strings.Repeat(itoa(n%10), size))
	}
	return one("db", f)
}

func BenchmarkPublish(b *testing.B) {
	for _, where := range []string{"disk", "memory"} {
		for _, layout := range layouts {
			for _, tt := range []struct {
				name       string
				keys, size int
			}{{"1x100B", 1, 100}, {"10x1KB", 10, 1 << 10}, {"1x900KB", 1, 900 << 10}} {
				b.Run(fmt.Sprintf("%s/%v/%s", where, layout, tt.name), func(b *testing.B) {
					w := benchmarkWriter(b, where, layout)
					sets := []Content{payloadOf(1, tt.keys, tt.size), payloadOf(2, tt.keys, tt.size)}
					publish(b, w, sets[1])
					n := 0
					for b.Loop() {
						publish(b, w, sets[n%2])
						n++
					}
				})
			}
		}
	}
	b.Run("no change", func(b *testing.B) {
		w := benchmarkWriter(b, "memory", generation.Nested)
		set, same := payloadOf(1, 10, 1<<10), payloadOf(1, 10, 1<<10)
		publish(b, w, set)
		for b.Loop() {
			publish(b, w, same)
		}
	})
}

func benchmarkWriter(b *testing.B, where string, layout Layout) *Writer {
	dir := b.TempDir()
	if where == "memory" {
		dir = testsupport.MemoryDir(b)
	}
	opts := quiet(testOptions(b, dir))
	opts.Layout, opts.now = layout, time.Now
	return opened(b, opts)
}
