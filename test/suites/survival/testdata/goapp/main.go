// Command goapp is an app in Go with a late handler for HUP:
//
//	goapp VALUE PIDFILE DELAY
//
// It installs the handler after DELAY ms. At HUP it prints "notified N". N is the content
// of the file VALUE.
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(value, pidFile, late string) error {
	hup := make(chan os.Signal, 64)
	delay, err := strconv.Atoi(late)
	if err != nil {
		return err
	}
	if delay == 0 { // before anything else, as the README says
		signal.Notify(hup, syscall.SIGHUP)
	}
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, os.Getpid()), 0o666); err != nil {
		return err
	}
	time.Sleep(time.Duration(delay) * time.Millisecond)
	signal.Notify(hup, syscall.SIGHUP)
	fmt.Println("ready")
	for range hup {
		b, err := os.ReadFile(value)
		if err != nil {
			return err
		}
		fmt.Printf("notified %s\n", b)
	}
	return nil
}
