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

// viperFollow watches the folder of the file and asks for the file's real path.
// Nothing ends its watching but the end of the folder.
func viperFollow(t *testing.T, v volume, seen func(string)) {
	config := viper.New()
	config.SetConfigFile(v.file("config.yaml"))
	if err := config.ReadInConfig(); err != nil {
		t.Fatal(err)
	}
	config.OnConfigChange(func(fsnotify.Event) { seen(config.GetString("password")) })
	config.WatchConfig()
}

// pollSeconds looks at what nginx does, for open_file_cache and for certificates
// in variables: the time in whole seconds, and the inode.
func pollSeconds(t *testing.T, v volume, seen func(string)) {
	type identity struct {
		seconds int64
		inode   uint64
	}
	poll(t, v, seen, func(info fs.FileInfo) any { return identity{info.ModTime().Unix(), inode(info)} })
}

// pollModified looks at the time alone.
func pollModified(t *testing.T, v volume, seen func(string)) {
	poll(t, v, seen, func(info fs.FileInfo) any { return info.ModTime() })
}

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// poll stats the file through its path and reads it when it is another one.
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

// poolFollow is how the example app follows its Secret without notifications.
func poolFollow(t *testing.T, v volume, seen func(string)) {
	poke := make(chan struct{}, 1)
	inBackground(t, func(ctx context.Context) { _ = pool.Follow(ctx, v.folder, poke) })
	<-poke // it watches
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
			// Not one of either generation.
			if c.Username != "app-"+c.Password {
				seen("torn: " + filepath.Join(c.Username, strings.TrimSpace(c.Password)))
			}
			seen(c.Password)
		}
	})
}

// inBackground runs f until the test ends, and waits for it.
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
