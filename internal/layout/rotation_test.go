package layout_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

// rotate publishes pairs of equal key and certificate until ctx ends, and returns their number.
func rotate(ctx context.Context, t *testing.T, w *writer.Writer, published chan<- int) {
	r := rules("required=tls items=tls/key>key items=tls/crt>crt items=tls/key+crt>bundle.pem")
	n := 0
	for ; ctx.Err() == nil; n++ {
		value := secret.Value(fmt.Sprintf("%08d", n))
		tls := watcher.Secret{
			UID: "u", ResourceVersion: fmt.Sprint(n), Data: map[string]secret.Value{"key": value, "crt": value},
		}
		snapshot := watcher.Snapshot{Secrets: map[string]watcher.Secret{"tls": tls}}
		result := layout.Make(r, layout.Input{Snapshot: snapshot})
		if _, err := w.Publish(context.Background(), result.Content); err != nil {
			t.Error(err)
			break
		}
		if n == 0 {
			published <- 0
		}
	}
	published <- n
}

// TestBundle_neverMismatched opens a bundle by its path a million times while the pair rotates
// without a pause, and finds no mismatched pair. The same pair in two files mismatches.
func TestBundle_neverMismatched(t *testing.T) {
	opens := 1_000_000
	if testing.Short() {
		opens = 50_000
	}
	dir := testsupport.MemoryDir(t)
	w, err := writer.Open(t.Context(), writer.Options{Dir: dir, FileMode: 0o600, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	published := make(chan int)
	go rotate(ctx, t, w, published)
	<-published

	bundles, files := 0, 0
	for i := range opens {
		if bundle := read(t, dir+"/tls/bundle.pem"); len(bundle) != 18 || bundle[:9] != bundle[9:] {
			bundles++
		}
		if i%10 == 0 && read(t, dir+"/tls/key") != read(t, dir+"/tls/crt") {
			files++
		}
	}
	cancel()
	t.Logf("%d rotations: %d of %d bundles and %d of %d pairs of files mismatched",
		<-published, bundles, opens, files, opens/10)
	if bundles > 0 || files == 0 {
		t.Errorf("got %d bundles and %d pairs of files that mismatch, want 0 and some", bundles, files)
	}
}

// read returns the content of a file. A generation can be removed while a file in it is opened.
func read(t *testing.T, path string) string {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for err == unix.ENOENT {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var content [32]byte
	n, err := unix.Read(fd, content[:])
	if err != nil {
		t.Fatal(err)
	}
	return string(content[:n])
}
