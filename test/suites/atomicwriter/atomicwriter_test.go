// Package atomicwriter measures the writer beside the kubelet's AtomicWriter: the
// same payload, on the same file system, in the same run.
//
// It is a module of its own, because k8s.io/kubernetes needs its k8s.io modules at
// one version, by replacements, and those of the product are others.
package atomicwriter

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"k8s.io/kubernetes/pkg/volume/util"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer"
)

// shapes are Secrets: how many keys, of what size.
var shapes = []struct {
	name        string
	files, size int
	kept        int
}{
	{"1x100B", 1, 100, 16},
	{"10x1KB", 10, 1 << 10, 16},
	{"1x900KB", 1, 900 << 10, 4},
}

// writers publish one of two payloads. AtomicWriter has no nested layout.
var writers = []struct {
	name string
	open func(b *testing.B, dir string, files, size int) (publish func(i int) error, shut func())
}{
	{"AtomicWriter", openAtomicWriter},
	{"flat", func(b *testing.B, dir string, files, size int) (func(int) error, func()) {
		return openWriter(b, dir, true, files, size)
	}},
	{"nested", func(b *testing.B, dir string, files, size int) (func(int) error, func()) {
		return openWriter(b, dir, false, files, size)
	}},
}

var places = []struct {
	name string
	dir  func(b *testing.B) string
}{
	{"tmpfs", memoryDir},
	{"disk", func(b *testing.B) string { return b.TempDir() }},
}

// BenchmarkPublish is a publish as it is in use, where Secrets change now and
// then: what it replaces is removed 10 s later, in the background. AtomicWriter
// removes it before it returns.
func BenchmarkPublish(b *testing.B) {
	each(b, func(b *testing.B, kept int, open func() (func(int) error, func())) {
		publish, shut := open()
		defer func() { shut() }()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			if i%kept == 0 { // the next one would remove
				shut()
				publish, shut = open()
				must(b, publish(i))
				time.Sleep(20 * time.Millisecond) // the kernel is not done with closing
			}
			time.Sleep(time.Millisecond) // for what else there is to do
			b.StartTimer()
			must(b, publish(i+1))
		}
	})
}

// BenchmarkFullSpeed publishes again and again: each one also removes an old
// generation.
func BenchmarkFullSpeed(b *testing.B) {
	const more = 20 // than are kept
	each(b, func(b *testing.B, _ int, open func() (func(int) error, func())) {
		publish, shut := open()
		defer shut()
		for i := range more {
			must(b, publish(i))
		}
		for i := 0; b.Loop(); i++ {
			must(b, publish(i))
		}
	})
}

// BenchmarkNoChange publishes what is there.
func BenchmarkNoChange(b *testing.B) {
	each(b, func(b *testing.B, _ int, open func() (func(int) error, func())) {
		publish, shut := open()
		defer shut()
		for b.Loop() {
			must(b, publish(0))
		}
	})
}

// each runs a benchmark of all writers. kept is how many old generations there can
// be before one is removed; publish takes the number of one of two payloads, the
// odd or the even one.
func each(b *testing.B, run func(b *testing.B, kept int, open func() (publish func(i int) error, shut func()))) {
	for _, place := range places {
		for _, shape := range shapes {
			for _, w := range writers {
				b.Run(place.name+"/"+shape.name+"/"+w.name, func(b *testing.B) {
					b.ReportAllocs()
					run(b, shape.kept, func() (func(int) error, func()) { return w.open(b, place.dir(b), shape.files, shape.size) })
				})
			}
		}
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func openAtomicWriter(b *testing.B, dir string, files, size int) (func(int) error, func()) {
	w, err := util.NewAtomicWriter(dir, "benchmark")
	if err != nil {
		b.Fatal(err)
	}
	var payloads [2]map[string]util.FileProjection
	for i := range payloads {
		payloads[i] = map[string]util.FileProjection{}
		for key, value := range content(i, files, size) {
			payloads[i][key] = util.FileProjection{Data: value, Mode: 0o644}
		}
	}
	return func(i int) error { return w.Write(payloads[i%2], nil) }, func() {}
}

// openWriter opens ours as secret-sync does, with Run beside it, which looks at
// what inotify reports of the writer's own work.
func openWriter(b *testing.B, dir string, flat bool, files, size int) (publish func(int) error, shut func()) {
	w, err := writer.Open(writer.Options{
		Dir: dir, Flat: flat, FileMode: 0o644, Logger: slog.New(failing{b}), Repaired: func() { b.Error("a repair of what nobody changed") },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	var sets [2]writer.Set
	for i := range sets {
		values := map[string]secret.Value{}
		for key, value := range content(i, files, size) {
			values[key] = value
		}
		sets[i] = writer.Set{Complete: true, Secrets: map[string]writer.Files{
			"db": {UID: "uid", ResourceVersion: strconv.Itoa(i), Content: values},
		}}
	}
	return func(i int) error {
			_, err := w.Publish(sets[i%2])
			return err
		}, func() {
			cancel()
			<-done
			must(b, w.Close())
		}
}

// failing lets nothing that the writer warns of pass for a measurement: without
// inotify, say, it is faster.
type failing struct{ b *testing.B }

func (f failing) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (f failing) WithAttrs([]slog.Attr) slog.Handler               { return f }
func (f failing) WithGroup(string) slog.Handler                    { return f }
func (f failing) Handle(_ context.Context, r slog.Record) error {
	f.b.Error(r.Message)
	return nil
}

// content differs between the payloads from the first byte on.
func content(payload, files, size int) map[string][]byte {
	all := map[string][]byte{}
	for i := range files {
		all[fmt.Sprintf("key-%d", i)] = bytes.Repeat([]byte{'a' + byte(payload)}, size)
	}
	return all
}

func memoryDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "secret-sync-benchmark-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}
