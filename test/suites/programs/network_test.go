//go:build programs

package programs

import (
	"github.com/secret-sync/secret-sync/test/harness/probe"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var networkServers = []program{
	{
		name: "Mosquitto", pkg: "mosquitto",
		files:   []string{"mosquitto.conf"},
		command: "/usr/sbin/mosquitto -c {dir}/mosquitto.conf",
		probe:   login(probe.MQTTLogin),
		ways: []way{bySignal("HUP", "mosquitto", reloads,
			"A key of the Secret contains the hash, in the form of `mosquitto_passwd`.")},
	},
	{
		name: "NATS", pkg: "nats-server",
		files:   []string{"nats.conf"},
		setup:   "ln -s {secrets} secrets",
		command: "/usr/sbin/nats-server -c {dir}/nats.conf",
		probe: probe.Talk(probe.Expect("INFO"), probe.Certificate,
			probe.Send(`CONNECT {"user":"app","pass":"password-{n}","verbose":false}`, "PING"),
			probe.Expect("PONG", "-ERR")),
		ways: []way{bySignal("HUP", "nats-server", reloads,
			"A key of the Secret contains the part of the configuration with the password.")},
	},
	{
		name: "coturn", pkg: "coturn",
		command: "/usr/bin/turnserver -n --listening-ip {host} --tls-listening-port {port} --listening-port {port2} " +
			"--no-udp --no-dtls --no-cli --pidfile {dir}/pid --log-file stdout --userdb {dir}/db " +
			"--cert {secrets}/tls.crt --pkey {secrets}/tls.key",
		probe: handshake,
		ways:  []way{bySignal("USR2", "turnserver", reloads)},
	},
	{
		name: "BIND", pkg: "bind9",
		files:   []string{"named.conf"},
		command: "/usr/sbin/named -g -c {dir}/named.conf",
		probe:   handshake,
		ways: []way{
			{env: st.Env{"PROCESS": "named", "SIGNAL_CHECK": "false"}, want: reloads,
				remark: "It receives signals with `sigwait`."},
			{env: st.Env{"PROCESS": "named"}, want: refused, log: "SECRETSYNC_SIGNAL_CHECK=false"},
		},
	},
	{
		name: "Unbound", pkg: "unbound",
		files:   []string{"unbound.conf"},
		command: "/usr/sbin/unbound -d -c {dir}/unbound.conf",
		probe:   handshake,
		ways: []way{
			bySignal("TERM", "unbound", restarts),
			bySignal("HUP", "unbound", nothing),
		},
	},
	{
		name: "rsyslog with GnuTLS", pkg: "rsyslog",
		files:   []string{"rsyslog-gtls.conf"},
		command: "/usr/sbin/rsyslogd -n -i {dir}/pid -f {dir}/rsyslog-gtls.conf",
		probe:   handshake,
		ways:    []way{{want: follows, remark: "It reads the files for each connection."}},
	},
	{
		name: "rsyslog with OpenSSL", pkg: "rsyslog",
		files:   []string{"rsyslog-ossl.conf"},
		command: "/usr/sbin/rsyslogd -n -i {dir}/pid -f {dir}/rsyslog-ossl.conf",
		probe:   handshake,
		ways: []way{
			bySignal("TERM", "rsyslogd", restarts),
			bySignal("HUP", "rsyslogd", nothing),
		},
	},
	{
		name:  "syslog-ng 3.38", // its package conflicts with rsyslog, so it is not installed
		files: []string{"syslog-ng.conf"},
		setup: "apt-get download -q syslog-ng-core >/dev/null; dpkg-deb -x syslog-ng-core_*.deb root",
		command: "/usr/bin/env LD_LIBRARY_PATH={dir}/root/usr/lib/syslog-ng {dir}/root/usr/sbin/syslog-ng " +
			"--foreground --no-caps -f {dir}/syslog-ng.conf -R {dir}/persist -c {dir}/ctl -p {dir}/pid " +
			"--module-path={dir}/root/usr/lib/syslog-ng/3.38",
		probe: handshake,
		ways:  []way{bySignal("HUP", "syslog-ng", reloads)},
	},
	{
		name: "OpenSSH, host key", pkg: "openssh-server",
		files:   []string{"sshd_config"},
		setup:   "[ \"$(id -u)\" != 0 ] || mkdir -p /run/sshd",
		command: "/usr/sbin/sshd -D -e -o ListenAddress={addr} -f {dir}/sshd_config",
		probe:   probe.HostKey,
		ways: []way{{env: st.Env{"PROCESS": "sshd", "FILE_MODE": "0600"}, want: reloads,
			remark: "The key must have mode 0600. With PAM, sshd and the sidecar run as root."}},
	},
	{
		name: "Dovecot", pkg: "dovecot-imapd", root: true,
		files:   []string{"dovecot.conf"},
		command: "/usr/sbin/dovecot -F -c {dir}/dovecot.conf",
		probe:   login(probe.Expect("* OK"), probe.Send("a LOGIN app password-{n}"), probe.Expect("a OK", "a NO")),
		ways:    []way{bySignal("HUP", "dovecot", reloads, "The main process runs as root.")},
	},
	{
		name: "Postfix", pkg: "postfix", root: true,
		files: []string{"main.cf", "master.cf"},
		setup: "mkdir -p data spool/pid; cd spool; mkdir active bounce corrupt defer deferred flush hold incoming " +
			"maildrop private public saved trace; chown postfix ../data *; chown root pid; chmod 755 .",
		command: "/usr/lib/postfix/sbin/master -d -c {dir}",
		probe:   probe.Talk(probe.SMTPTLS...),
		ways:    []way{bySignal("HUP", "master", reloads, "The main process runs as root and is named `master`.")},
	},
	{
		name: "Prosody", pkg: "prosody",
		files:   []string{"prosody.lua"},
		command: "/usr/bin/prosody -F --config {dir}/prosody.lua",
		probe:   handshake,
		ways: []way{bySignal("HUP", "prosody", reloads,
			"Clients that send no server name (SNI) get the old certificate until a restart.")},
	},
	{
		name: "vsftpd", pkg: "vsftpd", root: true,
		files:   []string{"vsftpd.conf"},
		setup:   "mkdir empty",
		command: "/usr/sbin/vsftpd {dir}/vsftpd.conf",
		probe:   handshake,
		ways: []way{
			bySignal("TERM", "vsftpd", restarts),
			bySignal("HUP", "vsftpd", nothing),
		},
	},
}
