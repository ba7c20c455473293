package recipe

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Python prepares the recipe for Python under gunicorn with a single worker, which
// replaces its connections on USR1. It uses the first python3 with the packages.
func Python(ctx context.Context, database string) (Program, error) {
	driver, debian := "pymysql", "python3-pymysql"
	if strings.HasPrefix(database, "postgres") {
		driver, debian = "psycopg2", "python3-psycopg2"
	}
	source, err := recipeDir(ctx, "python-sqlalchemy")
	if err != nil {
		return nil, err
	}
	var errs error
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		check := exec.CommandContext(ctx, python, "-c", "import gunicorn, sqlalchemy, "+driver)
		if out, err := check.CombinedOutput(); err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %w %s", python, err, lastLine(out)))
			continue
		}
		return func(addr string) *exec.Cmd {
			return exec.Command(python, "-B", "-m", "gunicorn", "--config", source+"/gunicorn.conf.py",
				"--chdir", source, "--workers", "1", "--bind", addr, "app")
		}, nil
	}
	return nil, missing("Python with gunicorn, SQLAlchemy and a driver", errs, "gunicorn python3-sqlalchemy "+debian)
}

func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
