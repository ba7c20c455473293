//go:build programs

package recipes

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/examples/internal/dbserver"
)

func TestJavaPostgreSQL(t *testing.T) {
	run(t, recipe{database: dbserver.PostgreSQL, notify: "webhook", command: java})
}

func TestJavaMariaDB(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "webhook", command: java})
}

func TestJavaHUP(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "HUP", command: java})
}

// jars are Debian's.
var jars = map[string]string{
	"/usr/share/java/HikariCP.jar":            "libhikaricp-java",
	"/usr/share/java/slf4j-api.jar":           "libslf4j-java",
	"/usr/share/java/slf4j-nop.jar":           "libslf4j-java",
	"/usr/share/java/postgresql.jar":          "libpostgresql-jdbc-java",
	"/usr/share/java/mariadb-java-client.jar": "libmariadb-java",
}

// java compiles the recipe and runs it.
func java(w *world) *exec.Cmd {
	classes := filepath.Join(w.scratch, "classes")
	path := []string{classes}
	for jar, debianPackage := range jars {
		path = append(path, need(w.t, jar, debianPackage))
	}
	classpath := strings.Join(path, ":")
	sources, _ := filepath.Glob(w.file("recipes/java-hikaricp/*.java"))
	javac := exec.Command(need(w.t, "/usr/bin/javac", "default-jdk-headless"), append([]string{"-d", classes, "-cp", classpath}, sources...)...)
	if out, err := javac.CombinedOutput(); err != nil {
		w.t.Fatalf("javac: %v\n%s", err, out)
	}
	return exec.Command(need(w.t, "/usr/bin/java", "default-jdk-headless"), "-cp", classpath, "App")
}
