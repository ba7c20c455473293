package filewatchers

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/viper"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// viperFollow uses viper, which watches the directory of the file and compares the file's
// real path. Its watch ends only with the directory.
func viperFollow(t *testing.T, v volume, seen func(string)) {
	config := viper.New()
	config.SetConfigFile(v.file("config.yaml"))
	if err := config.ReadInConfig(); err != nil {
		t.Fatal(err)
	}
	config.OnConfigChange(func(fsnotify.Event) { seen(config.GetString("password")) })
	config.WatchConfig()
}

// pollSeconds compares the same attributes as nginx for open_file_cache and for certificates
// in variables: the modification time in whole seconds, and the inode.
func pollSeconds(t *testing.T, v volume, seen func(string)) {
	type identity struct {
		seconds int64
		inode   uint64
	}
	poll(t, v, seen, func(info fs.FileInfo) any { return identity{info.ModTime().Unix(), inode(info)} })
}

// pollModified compares only the modification time.
func pollModified(t *testing.T, v volume, seen func(string)) {
	poll(t, v, seen, func(info fs.FileInfo) any { return info.ModTime() })
}

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// poll stats the file through its path and reads it when its identity changes.
func poll(t *testing.T, v volume, seen func(string), identity func(fs.FileInfo) any) {
	file := v.file("password")
	was, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	inBackground(t, func(ctx context.Context) {
		clock := time.NewTicker(20 * time.Millisecond)
		defer clock.Stop()
		for ctx.Err() == nil {
			is, err := os.Stat(file)
			if err != nil {
				seen(err.Error())
				return
			}
			if identity(is) != identity(was) {
				was = is
				read(file, seen)
			}
			<-clock.C
		}
	})
}

// poolFollow uses the pool of the example app without notifications.
func poolFollow(t *testing.T, v volume, seen func(string)) {
	poke := make(chan struct{}, 1)
	inBackground(t, func(ctx context.Context) { _ = pool.Follow(ctx, v.folder, poke) })
	<-poke // the watch is established
	inBackground(t, func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-poke:
			}
			c, err := pool.ReadCredentials(v.folder)
			if err != nil {
				seen(err.Error())
				return
			}
			// The credentials must belong to a single generation.
			if c.Username != "app-"+c.Password {
				seen("torn: " + filepath.Join(c.Username, strings.TrimSpace(c.Password)))
			}
			seen(c.Password)
		}
	})
}

// inBackground runs f until the test ends, and waits for its return.
func inBackground(t *testing.T, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
