package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/harness/recipe"
)

// app is what the replicas run.
type app struct {
	name string
	// signal is what notifies it, "" for the webhook.
	signal string
	look   string // the path that shows that it works
	// prepare makes it ready in a folder, for a database of this URL or "" for the
	// embedded one.
	prepare func(ctx context.Context, dir, database string) (recipe.Program, error)
}

var apps = []app{
	{name: "go", look: "/status", prepare: func(ctx context.Context, dir, _ string) (recipe.Program, error) {
		path := filepath.Join(dir, "app")
		return func(string) *exec.Cmd { return exec.Command(path) }, build.App(ctx, path)
	}},
	// A webhook would reach one of gunicorn's workers; it passes the signal on to all.
	{name: "python", signal: "USR1", look: "/query", prepare: func(ctx context.Context, _, database string) (recipe.Program, error) {
		return recipe.Python(ctx, database)
	}},
	{name: "node", look: "/status", prepare: func(ctx context.Context, dir, _ string) (recipe.Program, error) { return recipe.Node(ctx, dir) }},
	{name: "java", look: "/status", prepare: func(ctx context.Context, dir, _ string) (recipe.Program, error) { return recipe.Java(ctx, dir) }},
}

func findApp(name string) (app, error) {
	var names []string
	for _, a := range apps {
		if a.name == name {
			return a, nil
		}
		names = append(names, a.name)
	}
	return app{}, fmt.Errorf("-app %q: want one of %s", name, strings.Join(names, ", "))
}

// sidecarEnv is how the sidecar of a replica notifies the app.
func (d *demo) sidecarEnv(r *replica) []string {
	if d.app.signal == "" {
		return []string{"SECRETSYNC_WEBHOOK_URL=" + r.appURL + "/-/reload"}
	}
	return []string{
		"SECRETSYNC_PID_FILE=" + d.pidFile(r), "SECRETSYNC_SIGNAL=" + d.app.signal,
		// There is no rotation before the app has answered, and so has its handler.
		"SECRETSYNC_PROCESS_MIN_AGE=100ms",
	}
}

func (d *demo) pidFile(r *replica) string { return filepath.Join(d.work, r.name+".pid") }

// appEnv has no more of this program's environment than other languages need.
func (d *demo) appEnv(r *replica) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.Getenv("HOME"),
		"APP_ADDR=" + r.appURL[len("http://"):],
		"APP_DATABASE=" + d.database.URL,
		"APP_CREDENTIALS=" + filepath.Join(r.dir, secretName),
		// In the app in Go, connections open all the time, so that a password that
		// does not work any more shows at once.
		"APP_CONN_LIFETIME=200ms",
	}
}
