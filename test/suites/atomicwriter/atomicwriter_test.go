// Package atomicwriter compares the writer with the kubelet's AtomicWriter: the same payload,
// on the same file system, in the same run. It also compares dotenv files with the kubelet's
// parser.
//
// It is a module of its own, because k8s.io/kubernetes requires all k8s.io modules at a
// single version through replacements, and the product uses other versions.
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
	"github.com/secret-sync/secret-sync/writer/generation"
)

// shapes are Secrets with a number of keys and a size per key.
var shapes = []struct {
	name        string
	files, size int
	kept        int
}{
	{"1x100B", 1, 100, 16},
	{"10x1KB", 10, 1 << 10, 16},
	{"1x900KB", 1, 900 << 10, 4},
}

// writers publish two payloads in turn. AtomicWriter supports no nested layout.
var writers = []struct {
	name string
	open func(b *testing.B, dir string, files, size int) (publish func(i int) error, shut func())
}{
	{"AtomicWriter", openAtomicWriter},
	{"flat", func(b *testing.B, dir string, files, size int) (func(int) error, func()) {
		return openWriter(b, dir, generation.Flat, files, size)
	}},
	{"nested", func(b *testing.B, dir string, files, size int) (func(int) error, func()) {
		return openWriter(b, dir, generation.Nested, files, size)
	}},
}

var places = []struct {
	name string
	dir  func(b *testing.B) string
}{
	{"tmpfs", memoryDir},
	{"disk", func(b *testing.B) string { return b.TempDir() }},
}

// BenchmarkPublish measures a publish as in practice, when Secrets change rarely. The old
// generation is removed in the background 10 s later. AtomicWriter removes it before it
// returns.
func BenchmarkPublish(b *testing.B) {
	each(b, func(b *testing.B, kept int, open func() (func(int) error, func())) {
		publish, shut := open()
		defer func() { shut() }()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			if i%kept == 0 { // the next publish would remove a generation
				shut()
				publish, shut = open()
				must(b, publish(i))
				time.Sleep(20 * time.Millisecond) // the kernel finishes the close in the background
			}
			time.Sleep(time.Millisecond) // other background work finishes
			b.StartTimer()
			must(b, publish(i+1))
		}
	})
}

// BenchmarkFullSpeed publishes without pauses, so each publish also removes an old
// generation.
func BenchmarkFullSpeed(b *testing.B) {
	const more = 20 // beyond the number that is kept
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

// BenchmarkNoChange publishes the current content again.
func BenchmarkNoChange(b *testing.B) {
	each(b, func(b *testing.B, _ int, open func() (func(int) error, func())) {
		publish, shut := open()
		defer shut()
		for b.Loop() {
			must(b, publish(0))
		}
	})
}

// each runs a benchmark for all writers. kept is the number of old generations before the
// first removal. publish receives a number; even and odd numbers select the payload.
func each(b *testing.B, run func(b *testing.B, kept int, open func() (publish func(i int) error, shut func()))) {
	for _, place := range places {
		for _, shape := range shapes {
			for _, w := range writers {
				b.Run(place.name+"/"+shape.name+"/"+w.name, func(b *testing.B) {
					b.ReportAllocs()
					run(b, shape.kept,
						func() (func(int) error, func()) { return w.open(b, place.dir(b), shape.files, shape.size) })
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

// openWriter opens the writer of secret-sync with its options. Run processes the inotify
// events of the writer's own changes at the same time.
func openWriter(
	b *testing.B,
	dir string,
	layout generation.Layout,
	files, size int,
) (publish func(int) error, shut func()) {
	w, err := writer.Open(context.Background(), writer.Options{
		Dir: dir, Layout: layout, FileMode: 0o644, Logger: slog.New(failing{b}),
		Repaired: func() { b.Error("a repair of what nobody changed") },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	var sets [2]generation.Content
	for i := range sets {
		values := map[string]secret.Value{}
		for key, value := range content(i, files, size) {
			values[key] = value
		}
		sets[i] = generation.Content{Complete: true, Secrets: map[string]generation.Files{
			"db": {UID: "uid", ResourceVersion: strconv.Itoa(i), Values: values},
		}}
	}
	return func(i int) error {
			_, err := w.Publish(context.Background(), sets[i%2])
			return err
		}, func() {
			cancel()
			<-done
			must(b, w.Close())
		}
}

// failing fails the benchmark on every warning of the writer. Without inotify, for example,
// the writer would be faster.
type failing struct{ b *testing.B }

func (f failing) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (f failing) WithAttrs([]slog.Attr) slog.Handler               { return f }
func (f failing) WithGroup(string) slog.Handler                    { return f }
func (f failing) Handle(_ context.Context, r slog.Record) error {
	f.b.Error(r.Message)
	return nil
}

// content returns payloads that differ from the first byte on.
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
