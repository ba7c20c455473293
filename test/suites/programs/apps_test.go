//go:build programs

package programs

import (
	"github.com/secret-sync/secret-sync/test/harness/probe"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// answer is the response of an app of testdata that has read the version n.
var answer = probe.Get("/", "notified {n}\n")

const (
	web   = "/usr/bin/env VALUE={secrets}/n PYTHONDONTWRITEBYTECODE=1 "
	ended = "`HUP` shuts it down."
)

// appServers serve an app of testdata that reads the version when it is loaded.
var appServers = []program{
	{
		name: "Gunicorn", pkg: "gunicorn",
		command: web + "PYTHONUNBUFFERED=1 /usr/bin/gunicorn --chdir {testdata}/web -b {addr} -w 2 app:app",
		probe:   answer,
		ways: []way{
			bySignal("HUP", "gunicorn", reloads,
				"Set `PYTHONUNBUFFERED=1`: with a buffered stderr, the master can end."),
			bySignal("USR2", "gunicorn", replaces),
		},
	},
	{
		name: "Gunicorn as a daemon", pkg: "gunicorn",
		files:   []string{"gunicorn-daemon"},
		command: web + "/bin/sh {dir}/gunicorn-daemon",
		probe:   answer,
		ways: []way{{
			env: st.Env{"PID_FILE": "{dir}/pid"}, want: reloads, remark: "It forks twice and writes the PID file.",
		}},
	},
	{
		name: "Uvicorn", pkg: "uvicorn",
		command: web + "/usr/bin/uvicorn --app-dir {testdata}/web --host {host} --port {port} asgi:app",
		probe:   answer,
		ways: []way{
			bySignal("TERM", "uvicorn", restarts),
			{env: st.Env{"PROCESS": "uvicorn"}, want: refused, log: "has no handler for SIGHUP"},
		},
	},
	{
		name: "uWSGI", pkg: "uwsgi-core",
		command: web + "/usr/bin/uwsgi --plugin python3 --chdir {testdata}/web --http-socket {addr} " +
			"--master --processes 2 --module app --die-on-term",
		probe: answer,
		ways:  []way{bySignal("HUP", "uwsgi", reloads, "`HUP` executes it again.")},
	},
	{
		name: "uWSGI without `--master`", pkg: "uwsgi-core",
		command: web + "/usr/bin/uwsgi --plugin python3 --chdir {testdata}/web --http-socket {addr} --module app",
		probe:   answer,
		ways:    []way{bySignal("HUP", "uwsgi", ends, ended)},
	},
	{
		name: "Celery", pkg: "celery",
		command: web + "PORT={port} PYTHONPATH={testdata}/web /usr/bin/celery -A tasks worker -c 1",
		probe:   answer,
		ways: []way{
			bySignal("HUP", "celery", reloads, "`HUP` executes it again. Started by `python3 -m celery`, it ends: it "+
				"executes `celery/__main__.py`, which fails without its package."),
		},
	},
	{
		name: "Unicorn", pkg: "unicorn",
		command: web + "/usr/bin/unicorn -c /dev/null -l {addr} {testdata}/web/config.ru",
		probe:   answer,
		ways: []way{
			bySignal("HUP", "unicorn", reloads),
			bySignal("USR2", "unicorn", replaces),
		},
	},
	{
		name: "Puma, single mode", pkg: "puma",
		command: web + "/usr/bin/puma --pidfile {dir}/pid -b tcp://{addr} -w 0 {testdata}/web/config.ru",
		probe:   answer,
		ways: []way{
			bySignal("USR2", "puma", reloads, "`USR2` executes it again."),
			{env: st.Env{"PID_FILE": "{dir}/pid", "SIGNAL": "USR2"}, want: reloads},
			bySignal("HUP", "puma", ends, ended),
		},
	},
	{
		name: "Puma, single mode, with another GID", pkg: "puma", otherGID: true,
		command: web + "/usr/bin/puma -b tcp://{addr} -w 0 {testdata}/web/config.ru",
		probe:   answer,
		ways: []way{
			bySignal("USR2", "puma", reloads, "The GID of the sidecar differs, so `/proc` hides the exec of Puma."),
		},
	},
	{
		name: "Puma, 1 worker", pkg: "puma",
		command: web + "/usr/bin/puma -b tcp://{addr} -w 1 {testdata}/web/config.ru",
		probe:   answer,
		ways:    []way{bySignal("USR1", "puma", reloads)},
	},
	{
		name: "Puma, 2 workers", pkg: "puma",
		command: web + "/usr/bin/puma -b tcp://{addr} -w 2 {testdata}/web/config.ru",
		probe:   answer,
		ways:    []way{bySignal("USR1", "puma", reloads)},
	},
	{
		name: "Puma under ruby, single mode", pkg: "puma",
		command: web + "/usr/bin/ruby /usr/bin/puma -b tcp://{addr} -w 0 {testdata}/web/config.ru",
		probe:   answer,
		ways: []way{
			bySignal("USR2", "puma", reloads, "`USR2` executes it again. Only the name `puma` matches afterwards."),
		},
	},
	{
		name: "Puma under ruby, 1 worker", pkg: "puma",
		command: web + "/usr/bin/ruby /usr/bin/puma -b tcp://{addr} -w 1 {testdata}/web/config.ru",
		probe:   answer,
		ways:    []way{bySignal("USR1", "puma", reloads)},
	},
	{
		name: "Puma under ruby, 2 workers", pkg: "puma",
		command: web + "/usr/bin/ruby /usr/bin/puma -b tcp://{addr} -w 2 {testdata}/web/config.ru",
		probe:   answer,
		ways:    []way{bySignal("USR1", "puma", reloads)},
	},
	{
		name: "Unicorn under ruby", pkg: "unicorn",
		command: web + "/usr/bin/ruby /usr/bin/unicorn -c /dev/null -l {addr} {testdata}/web/config.ru",
		probe:   answer,
		ways:    []way{bySignal("HUP", "unicorn", reloads)},
	},
	{
		name: "Starman", pkg: "starman",
		command: web + "/usr/bin/starman --listen {addr} --workers 2 {testdata}/web/app.psgi",
		probe:   answer,
		ways:    []way{bySignal("HUP", "starman", reloads)},
	},
	{
		name: "asyncio", pkg: "python3-minimal",
		command: web + "/usr/bin/python3 {testdata}/web/loop.py {port}",
		probe:   answer,
		ways:    []way{bySignal("HUP", "loop.py", reloads)},
	},
	{
		name: "asyncio, started by its `#!` line", pkg: "python3-minimal",
		setup: "(echo '#!/usr/bin/python3'; cat {testdata}/web/loop.py) >payment-service-app; " +
			"chmod 755 payment-service-app",
		command: web + "{dir}/payment-service-app {port}",
		probe:   answer,
		ways: []way{
			bySignal("HUP", "payment-service-app", reloads, "The kernel truncates the name to `payment-service`."),
		},
	},
	{
		name: "Ruby without a handler", pkg: "ruby",
		command: web + "/usr/bin/ruby {testdata}/web/serve.rb {port}",
		probe:   answer,
		ways: []way{
			bySignal("TERM", "serve.rb", restarts),
			bySignal("HUP", "serve.rb", ends, "The handler of Ruby ends the script. `trap` replaces it."),
		},
	},
	{
		name: "PHP without a handler", pkg: "php-cli",
		command: web + "/usr/bin/php {testdata}/web/serve.php {port}",
		probe:   answer,
		ways: []way{
			bySignal("TERM", "serve.php", restarts),
			bySignal("HUP", "serve.php", ends, "The handler of PHP ends the script. `pcntl_signal` replaces it."),
		},
	},
	{
		name: "Node, cluster module", pkg: "nodejs",
		command: web + "/usr/bin/node {testdata}/web/cluster.js {port}",
		probe:   answer,
		ways:    []way{bySignal("HUP", "cluster.js", reloads)},
	},
	{
		name: "Node", pkg: "nodejs",
		command: web + "/usr/bin/node {testdata}/web/serve.js {port}",
		probe:   answer,
		ways: []way{
			bySignal("HUP", "serve.js", reloads),
			{env: st.Env{"PROCESS": "serve.js", "SIGNAL": "USR1"}, want: refused, log: "opens its debugger"},
		},
	},
	{
		name: "Node, npm start", pkg: "nodejs",
		setup:   `echo '{"scripts": {"start": "node {testdata}/web/serve.js {port}"}}' >package.json`,
		command: web + "npm_config_update_notifier=false /usr/bin/npm --prefix {dir} start",
		probe:   answer,
		ways:    []way{bySignal("HUP", "serve.js", reloads, "The name is the script's, not `npm`.")},
	},
	{
		name: "Node with the title of Next.js", pkg: "nodejs",
		command: web + "/usr/bin/node {testdata}/web/next.js {port}",
		probe:   answer,
		ways: []way{
			bySignal("TERM", "next-server", restarts,
				"Next.js 14 names its process `next-server (v14.2.9)` and has no handler for `HUP` either."),
			{env: st.Env{"PROCESS": "next-server"}, want: refused, log: "has no handler for SIGHUP"},
		},
	},
	{
		name: "Java without a handler", pkg: "openjdk-17-jre-headless",
		setup:   "javac -d {dir} {testdata}/web/Serve.java",
		command: web + "/usr/bin/java -XX:TieredStopAtLevel=1 -cp {dir} Serve {port}",
		probe:   answer,
		ways: []way{
			bySignal("TERM", "Serve", restarts),
			bySignal("HUP", "Serve", ends, ended),
			{env: st.Env{"PROCESS": "Serve", "SIGNAL": "USR2"}, want: refused, log: "in the JVM it crashes it"},
		},
	},
	{
		name: "Java by another launcher", pkg: "openjdk-17-jre-headless",
		setup: "javac -d {dir} {testdata}/web/Serve.java; home=$(readlink -f /usr/bin/java); home=${home%/bin/java}; " +
			"mkdir bin; cp $home/bin/java bin/launcher; ln -s $home/lib $home/conf .",
		command: web + "{dir}/bin/launcher -XX:TieredStopAtLevel=1 -cp {dir} Serve {port}",
		probe:   answer,
		ways: []way{
			{env: st.Env{"PROCESS": "launcher", "SIGNAL": "USR2"}, want: refused, log: "in the JVM it crashes it",
				remark: "As with jpackage, only the loaded library shows the JVM."},
		},
	},
	{
		name: "jsvc", pkg: "jsvc",
		setup: "javac -d {dir} {testdata}/web/Serve.java {testdata}/web/Daemon.java",
		command: web + "/usr/bin/jsvc -nodetach -home /usr/lib/jvm/default-java -XX:TieredStopAtLevel=1 " +
			"-pidfile {dir}/pid -cp /usr/share/java/commons-daemon.jar:{dir} Daemon {port}",
		probe: answer,
		ways: []way{
			bySignal("USR2", "jsvc", reloads, "jsvc calls the method `signal` of the daemon (`DaemonUserSignal`). "+
				"`HUP` starts the JVM again, at the earliest 60 s after its last start."),
			{env: st.Env{"PID_FILE": "{dir}/pid", "SIGNAL": "USR2"}, want: reloads, remark: "The file names the JVM, " +
				"a child of jsvc."},
		},
	},
	{
		name: "Erlang", pkg: "erlang-base",
		command: web + "/usr/bin/escript {testdata}/web/serve.escript {port}",
		probe:   answer,
		ways:    []way{{env: st.Env{"PROCESS": "beam.smp"}, want: refused, log: "has no handler for SIGHUP"}},
	},
	{
		name: "Go, tableflip", pkg: "",
		command: web + "{flip} {addr} {dir}/pid",
		probe:   answer,
		ways:    []way{bySignal("USR2", "flip", replaces, "The old process ends by itself.")},
	},
	{
		name: "tini", pkg: "tini",
		command: web + "/usr/bin/tini -- /usr/bin/python3 {testdata}/web/loop.py {port}",
		probe:   answer,
		ways:    []way{bySignal("HUP", "loop.py", reloads, "The name is the app's.")},
	},
	{
		name: "tini, dumb-init", pkg: "tini",
		command: web + "/usr/bin/tini -- /usr/bin/dumb-init /usr/bin/python3 {testdata}/web/loop.py {port}",
		probe:   answer,
		ways:    []way{bySignal("HUP", "loop.py", reloads, "The name is the app's.")},
	},
	{
		name: "supervisord", pkg: "supervisor",
		files:   []string{"supervisord.conf"},
		command: web + "/usr/bin/supervisord -c {dir}/supervisord.conf",
		probe:   answer,
		ways: []way{
			bySignal("HUP", "loop.py", reloads),
			bySignal("HUP", "supervisord", reloads, "`HUP` to supervisord starts all its programs again."),
		},
	},
	{
		name: "runit", pkg: "runit",
		files:   []string{"run"},
		setup:   "mkdir app; mv run app; chmod 755 app/run",
		command: web + "/usr/bin/runsvdir -P {dir}",
		probe:   answer,
		ways:    []way{bySignal("HUP", "loop.py", reloads)},
	},
	{
		name: "s6", pkg: "s6",
		files:   []string{"run"},
		setup:   "mkdir app; mv run app; chmod 755 app/run",
		command: web + "/usr/bin/s6-svscan {dir}",
		probe:   answer,
		ways:    []way{bySignal("HUP", "loop.py", reloads)},
	},
}
