//go:build programs

package recipes

import (
	"fmt"
	"os/exec"
	"os/user"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// phpFPM starts php-fpm behind nginx.
func phpFPM(w *world) *exec.Cmd {
	me, err := user.Current()
	if err != nil {
		w.t.Fatal(err)
	}
	conf := w.write("php-fpm.conf", fmt.Sprintf(`include = %s
[www]
user = %s
listen = %s
pm = static
pm.max_children = 12
clear_env = no
`, w.file("recipes/php-fpm/reload.conf"), me.Username, w.behind))
	path := need(w.t, "/usr/sbin/php-fpm*", "php-fpm php-mysql")
	return exec.Command(path, "--nodaemonize", "--force-stderr", "--allow-to-run-as-root", "--fpm-config", conf)
}

// nginx starts nginx in front of php-fpm.
func nginx(w *world) {
	conf := w.write("nginx.conf", fmt.Sprintf(`daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {
    listen %s;
    location / {
      fastcgi_pass %s;
      fastcgi_param SCRIPT_FILENAME %s;
      fastcgi_param SCRIPT_NAME $uri;
      fastcgi_param REQUEST_METHOD $request_method;
    }
  }
}
`, w.addr, w.behind, w.file("recipes/php-fpm/app.php")))
	path := need(w.t, "/usr/sbin/nginx", "nginx-light")
	w.start(exec.Command(path, "-p", w.scratch, "-c", conf, "-e", "stderr"), &testsupport.Log{})
}

// TestPHP waits for the log line of php-fpm about its new workers.
func TestPHP(t *testing.T) {
	run(t, recipe{database: dbserver.MariaDB, notify: "USR2", command: phpFPM, beside: nginx,
		reloaded: func(_ *world, _, since string) error {
			if lines(since, "NOTICE: ready to handle connections") == 0 {
				return fmt.Errorf("php-fpm is not ready again")
			}
			return nil
		}})
}
