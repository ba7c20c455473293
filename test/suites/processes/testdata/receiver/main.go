// Command receiver is notified by the sidecar in one of three ways. At each notification it
// appends the current state of the volume DIR to the file OUT.
//
//	receiver hup OUT DIR         a process with a handler for HUP; prints "fence" at USR1
//	receiver serve OUT DIR ADDR  a webhook
//	receiver exec OUT DIR        a command for the sidecar
//	receiver orphans             leaves two processes behind; they end later
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// An event is a line of OUT.
type event struct {
	Notified   uint64 // the generation in the notification; 0 for a signal
	Generation uint64 // the current generation in the volume
	Value      string
	At         time.Time // of the notification
}

func main() {
	hup := make(chan os.Signal, 64)
	signal.Notify(hup, syscall.SIGHUP) // first of all, as the documentation requires
	switch os.Args[1] {
	case "hup":
		signal.Notify(hup, syscall.SIGUSR1)
		fmt.Println("ready")
		for sig := range hup {
			if sig == syscall.SIGUSR1 {
				fmt.Println("fence") // all earlier signals were handled
				continue
			}
			see(0)
		}
	case "serve":
		http.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
			see(generation(r.Body))
			w.WriteHeader(http.StatusNoContent)
		})
		log.Fatal(http.ListenAndServe(os.Args[4], nil))
	case "exec":
		notified := generation(os.Stdin)
		if os.Getenv("SECRETSYNC_GENERATION") != strconv.FormatUint(notified, 10) {
			log.Fatal("the environment and the input differ")
		}
		see(notified)
	case "orphans":
		orphans()
	}
}

func generation(in io.Reader) uint64 {
	var n struct{ Generation uint64 }
	must(json.NewDecoder(in).Decode(&n))
	return n.Generation
}

// see reads the current generation and its record.
func see(notified uint64) {
	out, dir := os.Args[2], os.Args[3]
	e := event{Notified: notified, At: time.Now()}
	link, err := os.Readlink(filepath.Join(dir, "..data"))
	must(err)
	record, err := os.ReadFile(filepath.Join(dir, link+".json"))
	must(err)
	must(json.Unmarshal(record, &e))
	value, err := os.ReadFile(filepath.Join(dir, link, "db", "n"))
	must(err)
	e.Value = string(value)
	line, err := json.Marshal(e)
	must(err)
	f, err := os.OpenFile(out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	must(err)
	_, err = f.Write(append(line, '\n'))
	must(err)
	must(f.Close())
}

func orphans() {
	if len(os.Args) > 2 {
		time.Sleep(100 * time.Millisecond)
		return
	}
	for range 2 {
		must(exec.Command(os.Args[0], "orphans", "ends later").Start())
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
