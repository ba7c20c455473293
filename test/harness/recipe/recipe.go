// Package recipe makes the programs of examples/recipes that are not Go ready to run,
// for the quickstart and the tests. Nothing that it makes is in the checkout.
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

// Program is one that is ready: it gives the command that listens at HOST:PORT. The
// caller sets the environment, which the comment of the recipes' tests lists, and
// which has to have PATH.
type Program func(addr string) *exec.Cmd

// Node is the recipe for Node, below dir: it installs the packages there.
func Node(ctx context.Context, dir string) (Program, error) {
	node, errNode := exec.LookPath("node")
	npm, errNPM := exec.LookPath("npm")
	if err := cmp.Or(errNode, errNPM); err != nil {
		return nil, missing("Node and npm", err, "nodejs npm")
	}
	source, err := folder(ctx, "node")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "node")
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return nil, err
	}
	// None of the packages has an install script that it needs.
	ci := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	ci.Dir = dir
	if out, err := ci.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return func(string) *exec.Cmd { return exec.Command(node, filepath.Join(dir, "app.js")) }, nil
}

// jars are what the recipe for Java needs, where Debian has it.
var jars = []string{"HikariCP.jar", "slf4j-api.jar", "slf4j-nop.jar", "postgresql.jar", "mariadb-java-client.jar"}

// Java is the recipe for Java, compiled below dir.
func Java(ctx context.Context, dir string) (Program, error) {
	const debian = "default-jdk-headless libhikaricp-java libslf4j-java libpostgresql-jdbc-java libmariadb-java"
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
	source, err := folder(ctx, "java-hikaricp")
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(source, "*.java"))
	if err != nil {
		return nil, err
	}
	classpath := strings.Join(path, ":")
	// A name of the JDK's own, sun.misc.Signal, is a warning that no flag but this ends.
	compile := exec.CommandContext(ctx, javac, slices.Concat([]string{"-XDignore.symbol.file", "-d", classes, "-cp", classpath}, files)...)
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("javac: %w\n%s", err, out)
	}
	return func(string) *exec.Cmd { return exec.Command(java, "-cp", classpath, "App") }, nil
}

// folder is that of a recipe.
func folder(ctx context.Context, name string) (string, error) {
	source, err := build.RepositoryDir(ctx)
	return filepath.Join(source, "examples", "recipes", name), err
}

func missing(what string, err error, debian string) error {
	return fmt.Errorf("this app needs %s: apt-get install -y --no-install-recommends %s (%w)", what, debian, err)
}
