// Command reader is the app of the tests on a kubelet. It reads the directory of a Secret
// and reports its content:
//
//	GET  /        the state, see Answer
//	POST /reload  reads the files again
//
// SIGHUP also reads the files again. The environment:
//
//	READER_ADDR    the address of the server
//	READER_DIR     the directory of a Secret
//	READER_FOLLOW  more directories, comma-separated: the reader stores each new password
//	               and its time
//	READER_FILES   files to read for each response
//	READER_FOR     the time after which the reader exits with code 0
package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Answer is the state of the app.
type Answer struct {
	PID    int
	Start  map[string]string   // the files at the start of the app
	Loaded map[string]string   // the files of the last read
	By     string              // the reason: start, signal or webhook
	Loads  int                 // the number of reads, including the start
	Seen   map[string][]Change // the changes in each directory of READER_FOLLOW
	Now    map[string]string   // the files of READER_FILES
}

// A Change is a password and the time from which it could be read.
type Change struct {
	Password string
	At       time.Time
}

type reader struct {
	mu     sync.Mutex
	dir    string
	answer Answer
}

func main() {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	if err := run(hup); err != nil {
		slog.Error("reader ends", "err", err)
		os.Exit(1)
	}
}

func run(hup <-chan os.Signal) error {
	r := &reader{dir: os.Getenv("READER_DIR"), answer: Answer{
		PID: os.Getpid(), Seen: map[string][]Change{},
	}}
	if err := r.load("start"); err != nil {
		return err
	}
	r.answer.Start = r.answer.Loaded
	go func() {
		for range hup {
			if err := r.load("signal"); err != nil {
				slog.Error("reload", "err", err)
			}
		}
	}()
	for dir := range strings.SplitSeq(os.Getenv("READER_FOLLOW"), ",") {
		if dir == "" {
			continue
		}
		if err := r.follow(dir); err != nil {
			return err
		}
	}
	server := &http.Server{Addr: os.Getenv("READER_ADDR"), Handler: r.handler()}
	if d, err := time.ParseDuration(os.Getenv("READER_FOR")); err == nil {
		time.AfterFunc(d, func() { server.Close() })
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() { <-term; server.Close() }()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// readGeneration reads all files of a single generation.
func readGeneration(dir string) (map[string]string, error) {
	root, err := os.OpenRoot(dir + "/..data")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := os.ReadDir(root.Name())
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, e := range entries {
		b, err := root.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		files[e.Name()] = string(b)
	}
	return files, nil
}

func (r *reader) load(by string) error {
	files, err := readGeneration(r.dir)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer.Loaded, r.answer.By = files, by
	r.answer.Loads++
	return nil
}

// follow stores each new password in dir as soon as the kernel reports a change.
func (r *reader) follow(dir string) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	if err := w.Add(dir); err != nil {
		return err
	}
	r.note(dir)
	go func() {
		for range w.Events {
			r.note(dir)
		}
	}()
	return nil
}

func (r *reader) note(dir string) {
	b, err := os.ReadFile(dir + "/password")
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.answer.Seen[dir]
	if err != nil || len(seen) > 0 && seen[len(seen)-1].Password == string(b) {
		return
	}
	r.answer.Seen[dir] = append(seen, Change{Password: string(b), At: now})
}

func (r *reader) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := r.load("webhook"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.answer.Now = map[string]string{}
		for file := range strings.SplitSeq(os.Getenv("READER_FILES"), ",") {
			if b, err := os.ReadFile(file); err == nil {
				r.answer.Now[file] = string(b)
			}
		}
		if err := json.NewEncoder(w).Encode(r.answer); err != nil {
			slog.Error("answer", "err", err)
		}
	})
	return mux
}
