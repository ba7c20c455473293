// Package recipe installs and compiles the programs of examples/recipes in languages other
// than Go, for the quickstart and the tests. It writes nothing into the checkout.
package recipe

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/test/harness/build"
)

// A Program returns the command that runs a recipe's app. The app listens on addr
// (HOST:PORT). The caller sets the environment, which the package comment of
// test/suites/recipes describes. The environment must contain PATH.
type Program func(addr string) *exec.Cmd

// Node prepares the recipe for Node. It installs the npm packages below dir.
func Node(ctx context.Context, dir string) (Program, error) {
	node, errNode := exec.LookPath("node")
	npm, errNPM := exec.LookPath("npm")
	if err := cmp.Or(errNode, errNPM); err != nil {
		return nil, missing("Node and npm", err, "nodejs npm")
	}
	source, err := recipeDir(ctx, "node")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "node")
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return nil, err
	}
	// No package needs its install script.
	ci := exec.CommandContext(ctx, npm,
		"ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	ci.Dir = dir
	if out, err := ci.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return func(string) *exec.Cmd { return exec.Command(node, filepath.Join(dir, "app.js")) }, nil
}

// jars are the libraries of the recipe for Java. Debian installs them in /usr/share/java.
var jars = []string{
	"HikariCP.jar", "slf4j-api.jar", "slf4j-nop.jar", "postgresql.jar", "mariadb-java-client.jar",
}

// Java prepares the recipe for Java. It compiles the classes below dir.
func Java(ctx context.Context, dir string) (Program, error) {
	const debian = "default-jdk-headless libhikaricp-java libslf4j-java " +
		"libpostgresql-jdbc-java libmariadb-java"
	java, errJava := exec.LookPath("java")
	javac, errJavac := exec.LookPath("javac")
	if err := cmp.Or(errJava, errJavac); err != nil {
		return nil, missing("a JDK", err, debian)
	}
	classes := filepath.Join(dir, "classes")
	path := []string{classes}
	for _, jar := range jars {
		jar = filepath.Join("/usr/share/java", jar)
		if _, err := os.Stat(jar); err != nil {
			return nil, missing("HikariCP and the drivers", err, debian)
		}
		path = append(path, jar)
	}
	source, err := recipeDir(ctx, "java-hikaricp")
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(source, "*.java"))
	if err != nil {
		return nil, err
	}
	classpath := strings.Join(path, ":")
	// -XDignore.symbol.file suppresses the warning about sun.misc.Signal, an internal class.
	args := slices.Concat([]string{"-XDignore.symbol.file", "-d", classes, "-cp", classpath}, files)
	compile := exec.CommandContext(ctx, javac, args...)
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("javac: %w\n%s", err, out)
	}
	return func(string) *exec.Cmd { return exec.Command(java, "-cp", classpath, "App") }, nil
}

// recipeDir returns the directory of a recipe in the checkout.
func recipeDir(ctx context.Context, name string) (string, error) {
	source, err := build.RepositoryDir(ctx)
	return filepath.Join(source, "examples", "recipes", name), err
}

func missing(program string, err error, debian string) error {
	return fmt.Errorf("this app needs %s: apt-get install -y --no-install-recommends %s (%w)", program, debian, err)
}
