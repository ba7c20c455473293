package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
)

func (d *demo) startApp(ctx context.Context) error {
	started := time.Now()
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	d.appURL = "http://" + addr
	cmd := exec.Command(filepath.Join(d.work, d.appName()))
	cmd.Env = []string{
		"APP_ADDR=" + addr,
		"APP_DATABASE=" + d.database.url,
		"APP_CREDENTIALS=" + filepath.Join(d.dir, secretName),
		// Connections open all the time, so that a password that does not work
		// any more shows at once.
		"APP_CONN_LIFETIME=200ms",
	}
	show := d.show("app")
	d.appLog.Line = func(line string) { d.observer.appLine(line); show(line) }
	cmd.Stdout, cmd.Stderr = &d.appLog, &d.appLog
	if d.app, err = childprocess.Start(cmd); err != nil {
		return err
	}
	d.appStarted = time.Now()
	d.later(func() error { d.app.Stop(15 * time.Second); return nil })
	if err := d.waitForApp(ctx); err != nil {
		return err
	}
	d.step(started, "app", "pid %d, connected as %s", d.app.PID(), d.current.Username)
	return nil
}

func (d *demo) waitForApp(ctx context.Context) error {
	timeout := time.After(15 * time.Second)
	for {
		err := query(http.DefaultClient, d.appURL+"/query")
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-timeout:
			return fmt.Errorf("the app does not answer: %w%s", err, d.lastWords())
		case <-d.app.Done():
			return fmt.Errorf("the app ended: %s%s", d.app.State(), d.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// status asks the app who is connected.
func (d *demo) status(ctx context.Context) (s pool.Status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.appURL+"/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// startLoad starts the clients, and lets the app become old enough: a signal to
// a younger process waits (SECRETSYNC_PROCESS_MIN_AGE), and would make the first
// rotation look slow.
func (d *demo) startLoad(ctx context.Context) error {
	started := time.Now()
	d.load = startLoad(d.appURL+"/query", d.options.workers)
	d.later(func() error { d.load.stop(); return nil })
	if err := sleep(ctx, time.Until(d.appStarted.Add(minAge+200*time.Millisecond))); err != nil {
		return err
	}
	d.step(started, "load", "%d clients; waited until the app is %s old: a younger one gets no signal", d.options.workers, minAge)
	return nil
}

// show gives what prints a process's log lines when they are asked for.
func (d *demo) show(name string) func(string) {
	if !d.options.verbose {
		return func(string) {}
	}
	return func(line string) { fmt.Fprintf(os.Stderr, "%8s | %s\n", name, line) }
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
