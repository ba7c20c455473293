//go:build programs

package programs

import (
	"net/http"
	"net/http/httptest"

	"github.com/secret-sync/secret-sync/test/harness/probe"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var webServers = []program{
	{
		name: "nginx", pkg: "nginx-light",
		files:   []string{"nginx.conf"},
		command: "/usr/sbin/nginx -p {dir} -e stderr -c {dir}/nginx.conf",
		probe:   handshake,
		ways: []way{
			bySignal("HUP", "nginx", reloads),
			bySignal("USR2", "nginx", nothing, "With `daemon off`, nginx ignores `USR2`."),
		},
	},
	{
		name: "nginx as a daemon", pkg: "nginx-light",
		files:   []string{"nginx-daemon.conf", "nginx-daemon"},
		command: "/bin/sh {dir}/nginx-daemon",
		probe:   handshake,
		ways:    []way{bySignal("USR2", "nginx", replaces)},
	},
	{
		name: "Apache", pkg: "apache2",
		files:   []string{"apache.conf"},
		command: "/usr/sbin/apache2 -D FOREGROUND -f {dir}/apache.conf",
		probe:   handshake,
		ways: []way{
			bySignal("USR1", "apache2", reloads, "The process of the official image is named `httpd`."),
		},
	},
	{
		name: "lighttpd", pkg: "lighttpd",
		files:   []string{"lighttpd.conf"},
		command: "/usr/sbin/lighttpd -D -f {dir}/lighttpd.conf",
		probe:   handshake,
		ways: []way{
			bySignal("USR1", "lighttpd", reloads),
			bySignal("HUP", "lighttpd", nothing),
		},
	},
	{
		name: "Caddy", pkg: "caddy",
		files:   []string{"Caddyfile"},
		command: "/usr/bin/caddy run --config {dir}/Caddyfile",
		probe:   handshake,
		ways: []way{
			byCommand("caddy reload --force --config {dir}/Caddyfile", reloads),
			bySignal("HUP", "caddy", nothing),
		},
	},
	{
		name: "HAProxy", pkg: "haproxy",
		files:   []string{"haproxy.cfg"},
		command: "/usr/sbin/haproxy -W -db -f {dir}/haproxy.cfg",
		probe:   handshake,
		ways:    []way{bySignal("USR2", "haproxy", reloads, combined)},
	},
	{
		name: "Hitch", pkg: "hitch",
		command: "/usr/sbin/hitch --backend=[{host}]:{port2} --frontend=[{host}]:{port} {secrets}/combined.pem",
		probe:   handshake,
		ways:    []way{bySignal("HUP", "hitch", reloads, combined)},
	},
	{
		name: "stunnel", pkg: "stunnel4",
		files:   []string{"stunnel.conf"},
		command: "/usr/bin/stunnel4 {dir}/stunnel.conf",
		probe:   handshake,
		ways:    []way{bySignal("HUP", "stunnel4", reloads)},
	},
	{
		name: "Squid", pkg: "squid",
		files:   []string{"squid.conf"},
		command: "/usr/sbin/squid --foreground -f {dir}/squid.conf",
		probe:   squidLogin,
		ways: []way{bySignal("HUP", "squid", reloads,
			"A key of the Secret contains the hash, in the form of `htpasswd`.")},
	},
	{
		name: "Tomcat", pkg: "tomcat10-common",
		files:   []string{"tomcat.xml"},
		setup:   "mkdir conf logs temp work; mv tomcat.xml conf/server.xml",
		command: tomcat,
		probe:   handshake,
		ways: []way{
			bySignal("TERM", "Bootstrap", restarts),
			bySignal("HUP", "Bootstrap", ends, ended),
		},
	},
	{
		name: "Tomcat, `TLSCertificateReloadListener`", pkg: "tomcat10-common",
		files: []string{"tomcat.xml"},
		setup: "mkdir conf logs temp work; sed 's,<Service,<Listener " +
			"className=\"org.apache.catalina.security.TLSCertificateReloadListener\" checkPeriod=\"1\"/>&,' " +
			"tomcat.xml >conf/server.xml",
		command: tomcat,
		probe:   handshake,
		ways: []way{{want: follows, remark: "Every `checkPeriod`, the listener reads a certificate again that " +
			"expires within `daysBefore` days. The test sets both periods of Tomcat to 1 s."}},
	},
	{
		name: "Prometheus", pkg: "prometheus",
		files: []string{"web.yml"},
		command: "/usr/bin/prometheus --config.file=/dev/null --storage.tsdb.path={dir}/data " +
			"--web.listen-address={addr} --web.config.file={dir}/web.yml",
		probe: handshake,
		ways:  []way{{want: follows, remark: "It reads certificates and `password_file` on use."}},
	},
	{
		name: "Prometheus, its configuration", pkg: "prometheus",
		command: "/usr/bin/prometheus --config.file={secrets}/labels.yml --storage.tsdb.path={dir}/data " +
			"--web.listen-address={addr} --web.enable-lifecycle",
		probe: probe.Get("/api/v1/status/config", "version: n{n}\\n"),
		ways: []way{
			{env: st.Env{"WEBHOOK_URL": "http://{addr}/-/reload"}, want: reloads},
			bySignal("HUP", "prometheus", reloads),
		},
	},
	{
		name: "Alertmanager", pkg: "prometheus-alertmanager",
		command: "/usr/bin/prometheus-alertmanager --config.file={secrets}/receiver.yml --storage.path={dir}/data " +
			"--web.listen-address={addr} --cluster.listen-address=",
		probe: probe.Get("/api/v2/status", "receiver: n{n}\\n"),
		ways: []way{
			{env: st.Env{"WEBHOOK_URL": "http://{addr}/-/reload"}, want: reloads},
			bySignal("HUP", "prometheus-alertmanager", reloads, "Debian's name; elsewhere `alertmanager`."),
		},
	},
}

const tomcat = "/usr/bin/env CATALINA_BASE={dir} CATALINA_OPTS=-XX:TieredStopAtLevel=1 " +
	"/bin/sh /usr/share/tomcat10/bin/catalina.sh run"

const combined = "A single file contains the key and the certificate: a [bundle](files.md#bundles), " +
	"or cert-manager's `CombinedPEM`."

// origin is a web server behind proxies.
var origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("origin"))
}))

var squidLogin = probe.Talk(
	probe.Send("GET "+origin.URL+" HTTP/1.0", "Proxy-Authorization: Basic {basic}", ""), probe.Contains("origin"),
)
