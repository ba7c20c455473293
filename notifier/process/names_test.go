package process

import (
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestNames: a process is found by its comm and by the names in its arguments.
func TestNames(t *testing.T) {
	const long = "payment-authorization-service" // comm is its first 15 bytes
	for _, test := range []struct {
		comm string
		argv string // separated by |
		is   string // matching names, separated by spaces
		not  string // names that do not match
	}{
		{"nginx", "nginx: master process /usr/sbin/nginx -g daemon off;", "nginx", "nginx: off; master"},
		{"php-fpm8.2", "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", "php-fpm php-fpm8.2",
			"php-fpm.conf)"},
		{"postgres", "/usr/lib/postgresql/17/bin/postgres|-D|/data", "postgres", "data /data"},
		{"bash", "-bash", "bash", "-bash"},
		{"renamed", "", "renamed", ""},
		{"", "/app", "app", ""},

		{long[:15], "/opt/" + long + "|--port|80", long + " " + long[:15], long[:20]},
		{long[:15], "/opt/payment-authorizer", "payment-authorizer " + long[:15], long},
		{long[:15], "/usr/bin/python3|/opt/" + long, long, ""},
		{long[:15], "/usr/bin/python3|/opt/payment-authorizer", "payment-authorizer", long},
		{long[:15], "", long, ""}, // no argument contradicts it
		{long[:15], long + ": serving", long, "serving"},

		{"python3", "python3|app.py|--port|80", "app.py python3", "80 python"},
		{"python", "/usr/bin/python3.12|-u|-W|ignore|-X|dev|/srv/app.py", "app.py python3.12", "ignore dev"},
		{"python", "python|-Wignore|-Xdev|app.py", "app.py", ""},
		{"python", "python|-um|http.server|80", "http.server", "80"},
		{"python", "python|-c|import app|app.py", "python", "app.py"},
		{"python3", "python3|/opt/shop/__main__.py|--port|80", "shop", "__main__.py 80"},
		{"python3", "python3|__main__.py", "__main__.py", ""},
		{"gunicorn", "/usr/bin/python3|/usr/local/bin/gunicorn|app:app", "gunicorn", "app:app"},
		{"gunicorn", "gunicorn: master [app:app]", "gunicorn", ""},
		{"node", "node|--max-old-space-size=512|-r|./otel.js|dist/server.js", "server.js node", "otel.js"},
		{"MainThread", "/usr/local/bin/node|server.js", "server.js node", ""},
		{"node", "node|-e|server.js", "node", "server.js"},
		{"node", "node|--|server.js|x", "server.js", "x"},
		{"java", "java|-Xmx1g|-Dx=y|-jar|/opt/x.jar|server", "x.jar java", "server"},
		{"java", "/usr/bin/java|-cp|a.jar:b.jar|--add-opens|java.base/java.lang=ALL-UNNAMED|com.example.Main|arg",
			"com.example.Main Main", "arg a.jar:b.jar"},
		{"java", "java|-Dapp|com.example.Main|arg", "Main", "arg"}, // -Dapp is not -p with a value
		{"java", "java|--module-path|mods|-m|app/com.example.Main", "com.example.Main Main", "mods"},
		{"sh", "sh|/srv/start.sh|app", "start.sh sh", "app"},
		{"sh", "/bin/sh|-ec|start.sh", "sh", "start.sh"},
		{"bash", "bash|-o|pipefail|-x|run", "run", "pipefail"},
		{"sh", "sh|-s|app", "sh", "app"},
		{"ruby", "ruby3.1|-I|lib|-r|set|bin/puma", "puma", "lib set"},
		{"perl", "perl|-w|-Mstrict|app.pl", "app.pl", ""},
		{"perl", "perl|-MPipe|app.pl", "app.pl", ""}, // -MPipe does not contain -e
		{"perl", "perl|-ne|app.pl", "perl", "app.pl"},
		{"php", "php8.3|-d|memory_limit=1G|artisan|queue:work", "artisan", "queue:work"},
		{"dotnet", "dotnet|exec|App.dll", "App.dll", "exec"},
		{"mono", "/usr/bin/mono|/app/App.exe", "App.exe mono", ""},
		{"deno", "deno|run|--allow-net|main.ts", "main.ts", "run"},
		{"bun", "bun|server.ts", "server.ts", ""},

		{"busybox", "busybox|httpd|-f", "httpd busybox", "-f"},
		{"busybox", "/bin/busybox|sh|/srv/start", "start sh", ""},
		{"httpd", "httpd|-f|-p|80", "httpd", "80"},
		{"busybox", "busybox", "busybox", ""},

		{"ruby", "puma 5.6.5 (tcp://0.0.0.0:80) [app]", "puma ruby", "5.6.5 [app]"},
		{"ruby", "puma: cluster worker 0: 7 [app]", "puma ruby", "cluster"},
		{"starman master ", "starman master --listen :80", "starman", "--listen :80"},
		{"ruby", "unicorn master -c /srv/unicorn.rb", "unicorn ruby", "master unicorn.rb"},
		{"next-server (v1", "next-server (v14", "next-server", "(v14"},
		{"My Program", "/opt/My Program|x", "", "My"}, // a path with a space is no title

		{"vi", "vi|app.py", "vi", "app.py"},
		{"tini", "tini|--|app", "tini", "app"},
		{"cat", "cat|/usr/bin/app", "cat", "app"},
	} {
		p := process{comm: test.comm}
		p.parseCmdline(strings.ReplaceAll(test.argv, "|", "\x00") + "\x00")
		for name := range strings.FieldsSeq(test.is) {
			if !p.is(name) {
				t.Errorf("%s: %q does not match %q; its names are %q", test.comm, test.argv, name, p.names())
			}
		}
		for name := range strings.FieldsSeq(test.not) {
			if p.is(name) {
				t.Errorf("%s: %q matches %q", test.comm, test.argv, name)
			}
		}
	}
}

func FuzzProcess(f *testing.F) {
	f.Add([]byte("7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 400 0"), []byte("Uid:\t1\t2\t3\t4\nSigCgt:\tff\n"),
		[]byte("java\x00-jar\x00x.jar\x00"))
	f.Add([]byte(") ("), []byte(":"), []byte("\x00\x00"))
	f.Add([]byte("1 () Z 0"), []byte("Uid:\tx"), []byte("python\x00-\x00"))
	f.Fuzz(func(t *testing.T, stat, status, cmdline []byte) {
		var p process
		p.parseStat(string(stat))
		p.parseStatus(string(status))
		p.parseCmdline(string(cmdline))
		for _, name := range p.names() {
			if !p.is(name) {
				t.Errorf("%+v does not match its name %q", p, name)
			}
		}
	})
}

// TestParseStat: comm may contain parentheses and spaces.
func TestParseStat(t *testing.T) {
	var p process
	const stat = "7 (x) R 1 (y) S 42 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 12345 1 2 3 4 5 140735 7"
	if err := p.parseStat(stat); err != nil {
		t.Fatal(err)
	}
	if p.comm != "x) R 1 (y" || p.ppid != 42 || p.inert || p.start.Milliseconds() != 123450 || p.stack != 140735 {
		t.Errorf("process = %+v", p)
	}
	for _, bad := range []string{"", "7", "7 (x", "7 (x) S", "7 (x) S a 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1"} {
		if err := p.parseStat(bad); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

// TestParseSignal accepts names and numbers, and rejects everything else with the allowed
// values.
func TestParseSignal(t *testing.T) {
	for s, want := range map[string]int{
		"HUP": 1, "SIGHUP": 1, "hup": 1, "sigHup": 1, "1": 1, " TERM ": 15, "64": 64, "usr1": 10,
		"RTMIN": 34, "RTMIN+1": 35, "sigrtmin+30": 64, "RTMAX": 64, "RTMAX-2": 62, "STOP": 19, "WINCH": 28,
	} {
		if got, err := ParseSignal(s); err != nil || int(got) != want {
			t.Errorf("%q = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "SIG", "0", "-1", "65", "32", "33", "HUPP", "RTMIN+31", "RTMIN-1", "RTMIN+x",
		"RTMIN1",
		"RTMIN-4", "RTMAX-31", "RTMAX-33", "RTMAX+1", "1.5", "SIG SIG"} {
		got, err := ParseSignal(s)
		if err == nil {
			t.Errorf("%q = %d, want an error", s, got)
			continue
		}
		testsupport.WantError(t, err, "HUP", "1 to 64")
	}
}
