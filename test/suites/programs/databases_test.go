//go:build programs

package programs

import (
	"slices"

	"github.com/secret-sync/secret-sync/test/harness/probe"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// handshake is the probe of a program that speaks TLS from the first byte.
var handshake = probe.Talk(probe.Certificate)

// login continues the dialog after a TLS handshake.
func login(steps ...probe.Step) probe.Probe {
	return probe.Talk(slices.Concat([]probe.Step{probe.Certificate}, steps)...)
}

var databases = []program{
	{
		name: "PostgreSQL", pkg: "postgresql-15",
		setup: "/usr/lib/postgresql/15/bin/initdb -D {dir}/data -U app -A trust -N -E UTF8 --locale=C",
		command: "/usr/lib/postgresql/15/bin/postgres -D {dir}/data -h {host} -p {port} -k {dir} -c fsync=off " +
			"-c shared_buffers=1MB -c ssl=on -c ssl_cert_file={secrets}/tls.crt -c ssl_key_file={secrets}/tls.key",
		probe: probe.Talk(probe.PostgresTLS...),
		ways: []way{{env: st.Env{"PROCESS": "postgres", "FILE_MODE": "0600"}, want: reloads,
			remark: "The key must have mode 0600 and the UID of PostgreSQL. " +
				"A file does not change the password of a role; that needs `ALTER ROLE`."}},
	},
	{
		name: "MariaDB", pkg: "mariadb-server",
		setup: "mariadb-install-db --no-defaults --datadir={dir}/data --skip-test-db " +
			"--auth-root-authentication-method=socket --auth-root-socket-user=nobody >/dev/null",
		command: "/usr/sbin/mariadbd --no-defaults --datadir={dir}/data --socket={dir}/sock " +
			"--bind-address={host} --port={port} --pid-file={dir}/pid " +
			"--ssl-cert={secrets}/tls.crt --ssl-key={secrets}/tls.key",
		probe: probe.Talk(probe.MySQLTLS...),
		ways: []way{
			byCommand("mariadb --socket={dir}/sock -u nobody -e 'FLUSH SSL'", reloads),
			bySignal("HUP", "mariadbd", nothing),
		},
	},
	{
		name: "Redis", pkg: "redis-server",
		files: []string{"users.acl"},
		command: "/usr/bin/redis-server --port 0 --bind {host} --tls-port {port} --tls-auth-clients no --dir {dir} " +
			"--tls-cert-file {secrets}/tls.crt --tls-key-file {secrets}/tls.key " +
			"--unixsocket {dir}/sock --aclfile {dir}/users.acl",
		probe: login(probe.Bytes("AUTH app password-{n}\r\n"), probe.Expect("+OK", "-")),
		ways: []way{
			byCommand("redis-cli -s {dir}/sock --user admin --pass any --no-auth-warning <<END\n"+
				"CONFIG SET tls-cert-file {secrets}/tls.crt tls-key-file {secrets}/tls.key\n"+
				"ACL SETUSER app resetpass >$(cat {secrets}/password)\nEND",
				reloads, "The administrator's password is not the rotated password."),
			{env: st.Env{"PROCESS": "redis-server"}, want: refused, log: "ignores SIGHUP"},
		},
	},
	{
		name: "memcached", pkg: "memcached",
		command: "/usr/bin/memcached -u nobody -l {addr},notls:{host}:{port2} -Z " +
			"-o ssl_chain_cert={secrets}/tls.crt,ssl_key={secrets}/tls.key",
		probe: handshake,
		ways: []way{
			{env: st.Env{"EXEC": `["/bin/bash","-ec","exec 3<>/dev/tcp/{host}/{port2}; ` +
				`printf 'refresh_certs\\r\\nquit\\r\\n' >&3; grep -q OK <&3"]`}, want: reloads},
			bySignal("HUP", "memcached", nothing),
		},
	},
	{
		name: "etcd", pkg: "etcd-server",
		command: "/usr/bin/etcd --data-dir {dir}/data --logger zap " +
			"--cert-file {secrets}/tls.crt --key-file {secrets}/tls.key " +
			"--listen-client-urls https://{addr} --advertise-client-urls https://{addr} " +
			"--listen-peer-urls http://{host}:{port2} --initial-advertise-peer-urls http://{host}:{port2} " +
			"--initial-cluster default=http://{host}:{port2}",
		probe: handshake,
		ways:  []way{{want: follows, remark: "It reads the files for each handshake."}},
	},
	{
		name: "PgBouncer", pkg: "pgbouncer",
		files:   []string{"pgbouncer.ini"},
		command: "/usr/sbin/pgbouncer {dir}/pgbouncer.ini",
		probe:   probe.PostgresLogin("pgbouncer", "SHOW VERSION"),
		ways:    []way{bySignal("HUP", "pgbouncer", reloads, "A key of the Secret contains the rendered `auth_file`.")},
	},
	{
		name: "OpenLDAP slapd", pkg: "slapd",
		files:   []string{"slapd.conf"},
		setup:   "mkdir slapd.d; slaptest -f slapd.conf -F slapd.d",
		command: "/usr/sbin/slapd -d 0 -F {dir}/slapd.d -h ldaps://{addr}",
		probe:   handshake,
		ways: []way{
			byCommand("LDAPTLS_REQCERT=never ldapmodify -x -D cn=config -w admin -H ldaps://{addr} <<END\n"+
				"dn: cn=config\nreplace: olcTLSCertificateFile\nolcTLSCertificateFile: {secrets}/tls.crt\nEND",
				reloads),
			bySignal("HUP", "slapd", ends, "`HUP` shuts it down."),
		},
	},
}
