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

// An app is a program that the replicas can run.
type app struct {
	name string
	// signal notifies the app. An app without a signal is notified by the webhook.
	signal     string
	statusPath string // a path for the user to try with curl
	// prepare builds or installs the app in dir. The URL of the database is empty for
	// the embedded database.
	prepare func(ctx context.Context, dir, database string) (recipe.Program, error)
}

var apps = []app{
	{name: "go", statusPath: "/status", prepare: prepareGo},
	// A webhook would reach a single worker of gunicorn. A signal reaches all of them.
	{name: "python", signal: "USR1", statusPath: "/query", prepare: preparePython},
	{name: "node", statusPath: "/status", prepare: prepareNode},
	{name: "java", statusPath: "/status", prepare: prepareJava},
}

func prepareGo(ctx context.Context, dir, _ string) (recipe.Program, error) {
	path := filepath.Join(dir, "app")
	return func(string) *exec.Cmd { return exec.Command(path) }, build.Example(ctx, "app", path)
}

func preparePython(ctx context.Context, _, database string) (recipe.Program, error) {
	return recipe.Python(ctx, database)
}

func prepareNode(ctx context.Context, dir, _ string) (recipe.Program, error) {
	return recipe.Node(ctx, dir)
}

func prepareJava(ctx context.Context, dir, _ string) (recipe.Program, error) {
	return recipe.Java(ctx, dir)
}

func findApp(name string) (app, error) {
	var names []string
	for _, a := range apps {
		if a.name == name {
			return a, nil
		}
		names = append(names, a.name)
	}
	return app{}, fmt.Errorf("-app %q: must be one of %s", name, strings.Join(names, ", "))
}

// notification returns the variables with which the sidecar of r notifies the app.
func (d *demo) notification(r *replica) []string {
	if d.app.signal == "" {
		return []string{"SECRETSYNC_WEBHOOK_URL=" + r.appURL + "/-/reload"}
	}
	return []string{
		"SECRETSYNC_PID_FILE=" + d.pidFile(r), "SECRETSYNC_SIGNAL=" + d.app.signal,
		// The first rotation follows the first answer of the app. By then its handler
		// is registered.
		"SECRETSYNC_PROCESS_MIN_AGE=100ms",
	}
}

func (d *demo) pidFile(r *replica) string { return filepath.Join(d.work, r.name+".pid") }

// appEnv returns the environment of the app. Of this program's own environment, it
// contains the variables for Python, Node and Java.
func (d *demo) appEnv(r *replica) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.Getenv("HOME"),
		"APP_ADDR=" + r.appURL[len("http://"):],
		"APP_DATABASE=" + d.database.URL,
		"APP_CREDENTIALS=" + filepath.Join(r.dir, secretName),
		// The app in Go opens connections continually, so a query fails as soon as the
		// password of the app stops working.
		"APP_CONN_LIFETIME=200ms",
	}
}
