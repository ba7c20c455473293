package config

import (
	"slices"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	const app = "SECRETSYNC_PROCESS=app"
	for _, tt := range []struct {
		env             []string
		wrong, mentions string
	}{
		{[]string{app}, "", ""},
		{[]string{"SECRETSYNC_PROCESS=/bin/app"}, "SECRETSYNC_PROCESS", "names of processes"},
		{[]string{"SECRETSYNC_PID_FILE=/run/pid"}, "", ""},
		{[]string{"SECRETSYNC_PID_FILE=pid"}, "SECRETSYNC_PID_FILE", "absolute"},
		{[]string{"SECRETSYNC_PID_FILE=/run/"}, "SECRETSYNC_PID_FILE", "absolute"},
		{[]string{app, "SECRETSYNC_PID_FILE=/run/pid"}, "", ""},
		{[]string{"SECRETSYNC_PROCESS=nginx,app:USR1"}, "", ""},
		{[]string{"SECRETSYNC_PROCESS=nginx,,app"}, "SECRETSYNC_PROCESS", "an entry is empty"},
		{[]string{"SECRETSYNC_PROCESS=nginx,app:USR9"}, "SECRETSYNC_PROCESS",
			`"USR9" is not a signal; did you mean USR1?`},
		{[]string{"SECRETSYNC_PROCESS=app:hupp"}, "SECRETSYNC_PROCESS", `"hupp" is not a signal; did you mean HUP?`},
		{[]string{"SECRETSYNC_PROCESS=app:huupp"}, "SECRETSYNC_PROCESS",
			`did you mean HUP? (for a target named "app:huupp", append a signal: "app:huupp:HUP")`},
		{[]string{"SECRETSYNC_PROCESS=app:huupp:HUP"}, "", ""}, // a part of the name, as the error advises
		{[]string{"SECRETSYNC_PROCESS=app:pip"}, "SECRETSYNC_PROCESS", "did you mean PIPE?"},
		{[]string{"SECRETSYNC_PROCESS=app:usrr11"}, "SECRETSYNC_PROCESS", "did you mean USR1?"},
		{[]string{"SECRETSYNC_PROCESS=app:8080"}, "SECRETSYNC_PROCESS", `append a signal: "app:8080:HUP"`},
		{[]string{"SECRETSYNC_PROCESS=a:b,app:http,app:web,app:main,app:server,app:consumer,app:control"}, "", ""},
		{[]string{"SECRETSYNC_PROCESS=app:user1"}, "SECRETSYNC_PROCESS", "did you mean USR1?"},
		{[]string{"SECRETSYNC_PROCESS=app:sigreload"}, "SECRETSYNC_PROCESS", `"sigreload" is not`},
		{[]string{"SECRETSYNC_PROCESS=app:worker"}, "", ""}, // a part of the name
		{[]string{"SECRETSYNC_PROCESS=php-fpm: pool www,com.example:main,node:app,puma: worker 0: 7 [app]"}, "", ""},
		{[]string{"SECRETSYNC_PROCESS=app:proxy,app:api,app:db,app:go,app:i,app:reload,nginx:rtsp"}, "", ""},
		{[]string{"SECRETSYNC_PROCESS=app:"}, "SECRETSYNC_PROCESS",
			`the signal after the colon is missing (for a target named "app:", append a signal: "app::HUP")`},
		{[]string{"SECRETSYNC_PROCESS=app::HUP"}, "", ""}, // as the error advises
		{[]string{"SECRETSYNC_PID_FILE=/run/app.pid:"}, "SECRETSYNC_PID_FILE", "the signal after the colon is missing"},
		{[]string{"SECRETSYNC_PROCESS=app :HUP"}, "SECRETSYNC_PROCESS", "remove the space beside the colon"},
		{[]string{"SECRETSYNC_PROCESS=app: HUP"}, "SECRETSYNC_PROCESS", "remove the space beside the colon"},
		{[]string{"SECRETSYNC_PROCESS=app : hupp"}, "SECRETSYNC_PROCESS", "did you mean HUP?"},
		{[]string{"SECRETSYNC_PROCESS=app:rtmin+99"}, "SECRETSYNC_PROCESS", `"rtmin+99" is not a signal`},
		{[]string{"SECRETSYNC_PROCESS=app:rtmn+1"}, "SECRETSYNC_PROCESS", `"rtmn+1" is not a signal`},
		{[]string{"SECRETSYNC_PROCESS=app:hangup"}, "SECRETSYNC_PROCESS", `"hangup" is not a signal`},
		{[]string{"SECRETSYNC_PROCESS=app:terminate"}, "SECRETSYNC_PROCESS", `"terminate" is not a signal`},
		{[]string{"SECRETSYNC_PROCESS=app:chdl"}, "SECRETSYNC_PROCESS", "did you mean CHLD?"},
		{[]string{"SECRETSYNC_PROCESS=app:prov"}, "SECRETSYNC_PROCESS", "did you mean PROF?"},
		{[]string{"SECRETSYNC_PROCESS=:HUP"}, "SECRETSYNC_PROCESS", "names of processes"},
		{[]string{"SECRETSYNC_PROCESS=app:HUP,app:USR1"}, "SECRETSYNC_PROCESS", `"app" is listed twice`},
		{[]string{"SECRETSYNC_PID_FILE=/run/a.pid,b.pid:HUP"}, "SECRETSYNC_PID_FILE", "absolute"},
		{[]string{"SECRETSYNC_PID_FILE=/run/a.pid:32"}, "SECRETSYNC_PID_FILE", `"32" is not a signal`},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http://a/x,https://b/y"}, "", ""},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http://a/x,b/y"}, "SECRETSYNC_WEBHOOK_URL", "... (not shown)"},
		{[]string{"SECRETSYNC_SIGNAL=64"}, "", ""},
		{[]string{"SECRETSYNC_SIGNAL=SIGTERM"}, "", ""},
		{[]string{"SECRETSYNC_SIGNAL=hup"}, "", ""},
		{[]string{"SECRETSYNC_SIGNAL=RTMIN+1"}, "", ""},
		{[]string{"SECRETSYNC_SIGNAL=0"}, "SECRETSYNC_SIGNAL", `"0"`},
		{[]string{"SECRETSYNC_SIGNAL=65"}, "SECRETSYNC_SIGNAL", "1 to 64"},
		{[]string{"SECRETSYNC_SIGNAL=RELOAD"}, "SECRETSYNC_SIGNAL", `"RELOAD"`},

		{[]string{"SECRETSYNC_WEBHOOK_URL=http://localhost:8080"}, "", ""},
		{[]string{"SECRETSYNC_WEBHOOK_URL=https://[::1]:8443/-/reload"}, "", ""},
		{[]string{"SECRETSYNC_WEBHOOK_URL=unix:///run/app.sock:/reload"}, "", ""},
		{[]string{"SECRETSYNC_WEBHOOK_URL=unix://run/app.sock:/reload"}, "SECRETSYNC_WEBHOOK_URL", "unix://"},
		{[]string{"SECRETSYNC_WEBHOOK_URL=unix:///" + strings.Repeat("a", 107) + ":/x"}, "SECRETSYNC_WEBHOOK_URL",
			"107"},
		{[]string{"SECRETSYNC_WEBHOOK_URL=localhost:8080/reload"}, "SECRETSYNC_WEBHOOK_URL", "scheme"},
		{[]string{"SECRETSYNC_WEBHOOK_URL=ftp://a/b"}, "SECRETSYNC_WEBHOOK_URL", "scheme"},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http:///reload"}, "SECRETSYNC_WEBHOOK_URL", "no host"},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http://a:65536/"}, "SECRETSYNC_WEBHOOK_URL", "port"},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http://a:0/"}, "SECRETSYNC_WEBHOOK_URL", "port"},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http://a/%zz"}, "SECRETSYNC_WEBHOOK_URL", "http://..."},
		{[]string{"SECRETSYNC_WEBHOOK_METHOD=PATCH"}, "", ""},
		{[]string{"SECRETSYNC_WEBHOOK_METHOD=PO ST"}, "SECRETSYNC_WEBHOOK_METHOD", `"PO ST"`},
		{[]string{"SECRETSYNC_WEBHOOK_METHOD=PÖST"}, "SECRETSYNC_WEBHOOK_METHOD", `"PÖST"`},
		{[]string{"SECRETSYNC_WEBHOOK_TIMEOUT=1s"}, "", ""}, // without a URL
		{[]string{"SECRETSYNC_WEBHOOK_CA_FILE=/ca"}, "SECRETSYNC_WEBHOOK_CA_FILE", "SECRETSYNC_WEBHOOK_URL is not set"},
		{
			[]string{"SECRETSYNC_WEBHOOK_TOKEN_FILE=/t"},
			"SECRETSYNC_WEBHOOK_TOKEN_FILE", "SECRETSYNC_WEBHOOK_URL is not set",
		},
		{[]string{"SECRETSYNC_WEBHOOK_TOKEN_FILE=t"}, "SECRETSYNC_WEBHOOK_TOKEN_FILE", "absolute"}, // and no more
		{
			[]string{"SECRETSYNC_WEBHOOK_URL=http://a", "SECRETSYNC_WEBHOOK_CA_FILE=ca"},
			"SECRETSYNC_WEBHOOK_CA_FILE", "absolute",
		},
		{
			[]string{
				"SECRETSYNC_WEBHOOK_URL=https://a,https://b",
				"SECRETSYNC_WEBHOOK_CA_FILE=/ca", "SECRETSYNC_WEBHOOK_TOKEN_FILE=/t",
			},
			"", "",
		},
		{
			[]string{"SECRETSYNC_WEBHOOK_URL=http://a", "SECRETSYNC_WEBHOOK_CA_FILE=/ca"},
			"SECRETSYNC_WEBHOOK_CA_FILE", "a URL that does not start with https://",
		},
		{
			[]string{"SECRETSYNC_WEBHOOK_URL=https://a,unix:///a:/b", "SECRETSYNC_WEBHOOK_CA_FILE=/ca"},
			"SECRETSYNC_WEBHOOK_CA_FILE", "a URL that does not start with https://",
		},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http://user:pw@a"}, "", ""},
		{[]string{"SECRETSYNC_WEBHOOK_URL=http://a", "SECRETSYNC_WEBHOOK_TOKEN_FILE=/t"}, "", ""},
		{
			[]string{"SECRETSYNC_WEBHOOK_URL=http://user:pw@a", "SECRETSYNC_WEBHOOK_TOKEN_FILE=/t"},
			"SECRETSYNC_WEBHOOK_TOKEN_FILE", "a URL with a user",
		},

		{[]string{`SECRETSYNC_EXEC=["/bin/true"]`}, "", ""},
		{[]string{`SECRETSYNC_EXEC=[]`}, "SECRETSYNC_EXEC", "names no program"},
		{[]string{`SECRETSYNC_EXEC=null`}, "SECRETSYNC_EXEC", "names no program"},
		{[]string{`SECRETSYNC_EXEC=[""]`}, "SECRETSYNC_EXEC", "names no program"},
		{[]string{`SECRETSYNC_EXEC=["a",null]`}, "SECRETSYNC_EXEC", "element 1 is null or"},
		{[]string{`SECRETSYNC_EXEC=["a","\u0000"]`}, "SECRETSYNC_EXEC", "element 1 is null or contains a zero byte"},
		{[]string{`SECRETSYNC_EXEC=["a",1]`}, "SECRETSYNC_EXEC", "malformed; must be a JSON array of strings"},
		{[]string{`SECRETSYNC_EXEC="a"`}, "SECRETSYNC_EXEC", "malformed; must be a JSON array of strings"},
		{[]string{`SECRETSYNC_EXEC=a -b`}, "SECRETSYNC_EXEC", "malformed; must be a JSON array of strings"},
		{[]string{`SECRETSYNC_EXEC=["a"`}, "SECRETSYNC_EXEC", "malformed; must be a JSON array of strings"},
		{[]string{`SECRETSYNC_EXEC=["a"] x`}, "SECRETSYNC_EXEC", "malformed; must be a JSON array of strings"},

		{[]string{"SECRETSYNC_ONE_SHOT=true"}, "", ""},
		{[]string{"SECRETSYNC_ONE_SHOT=false", app}, "", ""},
		{[]string{"SECRETSYNC_ONE_SHOT=true", app}, "SECRETSYNC_ONE_SHOT", "unset SECRETSYNC_PROCESS"},
		{[]string{"SECRETSYNC_ONE_SHOT=true", "SECRETSYNC_PID_FILE=/p"}, "SECRETSYNC_ONE_SHOT", "SECRETSYNC_PID_FILE"},
		{
			[]string{"SECRETSYNC_ONE_SHOT=true", "SECRETSYNC_WEBHOOK_URL=http://a"},
			"SECRETSYNC_ONE_SHOT", "SECRETSYNC_WEBHOOK_URL",
		},
		{
			[]string{"SECRETSYNC_ONE_SHOT=true", `SECRETSYNC_EXEC=["a"]`, app},
			"SECRETSYNC_ONE_SHOT", "SECRETSYNC_PROCESS and SECRETSYNC_EXEC",
		},
	} {
		t.Run(strings.Join(tt.env, " "), func(t *testing.T) { oneProblem(t, tt.env, tt.wrong, tt.mentions) })
	}
}

// TestProblems_doNotLeak: no problem contains a possibly secret value.
func TestProblems_doNotLeak(t *testing.T) {
	const canary = "hunter2"
	for _, env := range [][]string{
		{"SECRETSYNC_WEBHOOK_URL=http://u:hunter2@host:99999/"},
		{"SECRETSYNC_WEBHOOK_URL=http://u:hunter2@/x"},
		{"SECRETSYNC_WEBHOOK_URL=http://hunter2:x@a b/"},
		{"SECRETSYNC_WEBHOOK_URL=http://host:0/?token=hunter2"},
		{"SECRETSYNC_WEBHOOK_URL=http://host/services/hunter2/%zz"},
		{"SECRETSYNC_WEBHOOK_URL=http://host/#hunter2"},
		{"SECRETSYNC_WEBHOOK_URL=hunter2:x@host/y"},
		{"SECRETSYNC_WEBHOOK_URL=hunter2"},
		{"SECRETSYNC_WEBHOOK_URL=unix://hunter2"},
		{`SECRETSYNC_EXEC=mysql -phunter2`},
		{`SECRETSYNC_EXEC={"hunter2":1}`},
		{`SECRETSYNC_EXEC=["a",{"hunter2":1}]`},
		{`SECRETSYNC_EXEC=["","hunter2"]`},
		{`SECRETSYNC_EXEC=["x","hunter2\u0000"]`},
		{"SECRETSYNC_WEBHOOK_URL=http://a", "SECRETSYNC_WEBHOOK_TOKEN_FILE=hunter2"},
		{"SECRETSYNC_WEBHOOK_TOKEN_FILE=hunter2"},
		{"SECRETSYNC_WEBHOOK_URL=http://a", "SECRETSYNC_WEBHOOK_CA_FILE=-----BEGIN hunter2"},
		{
			"SECRETSYNC_WEBHOOK_URL=http://hunter2@a",
			"SECRETSYNC_WEBHOOK_TOKEN_FILE=/hunter2", "SECRETSYNC_WEBHOOK_CA_FILE=/hunter2",
		},
		{"SECRETSYNC_WEBHOOK_TOKEN=hunter2"},
		{"SECRETSYNC_PASSWORD=hunter2"},
		{"SECRETSYNC_ONE_SHOT=true", `SECRETSYNC_EXEC=["hunter2"]`, "SECRETSYNC_WEBHOOK_URL=http://hunter2@a"},
	} {
		environ(t, env...)
		got := loadText(t)
		if len(loadProblems(t)) == 0 {
			t.Errorf("%q: no problem", env)
		}
		if strings.Contains(got, canary) {
			t.Errorf("%q: got %v, want nothing of the value", env, got)
		}
	}
}

func TestUnknown_variables(t *testing.T) {
	for _, tt := range []struct{ name, mentions string }{
		{"SECRETSYNC_SECRTES", "did you mean SECRETSYNC_SECRETS?"},
		{"SECRETSYNC_REQUIRED_KEY", "did you mean SECRETSYNC_REQUIRED_KEYS?"},
		{"SECRETSYNC_WEBHOOK", "did you mean SECRETSYNC_WEBHOOK_URL?"},
		{"SECRETSYNC_NAMESPACE", "did you mean POD_NAMESPACE?"},
		{"SECRETSYNC_dir", "did you mean SECRETSYNC_DIR?"},
		{"SECRETSYNC_TOKEN_FILE", "did you mean SECRETSYNC_WEBHOOK_TOKEN_FILE?"},
		{"SECRETSYNC_", "help lists the variables"},
		{"SECRETSYNC_KUBECONFIG_CONTEXT", "help lists the variables"},
		{"SECRETSYNC_PORT_80_SCTP_X", "unknown variable"},
		{"SECRETSYNC_PORT_X_TCP", "unknown variable"},
		{"SECRETSYNC_HTTP_PORT", "unknown variable"}, // no value set by the kubelet
		{"SECRETSYNC_PORT_80_TCP", "unknown variable"},
		{"SECRETSYNC_METRICS_SERVICE_PORT", "unknown variable"},
		{"SECRETSYNC_GENERATIONS", "unknown variable"},
		{"SECRET_SYNC_DIR", "did you mean SECRETSYNC_DIR?"},
		{"SECRETS_SYNC_SIGNAL", "did you mean SECRETSYNC_SIGNAL?"},
		{"secretsync_process", "did you mean SECRETSYNC_PROCESS?"},
		{"SecretSync_Layout", "did you mean SECRETSYNC_LAYOUT?"},
		{"SECRETSYC_SECRETS", "did you mean SECRETSYNC_SECRETS?"},
		{"SECRETS_SYNC_WEBHOOK", "did you mean SECRETSYNC_WEBHOOK_URL?"},
		{"SECRETSSYNC_METHOD", "did you mean SECRETSYNC_WEBHOOK_METHOD?"},
		{"SECRET_SYNC_WEBHOOK", "did you mean SECRETSYNC_WEBHOOK_URL?"},
		{"SECRET_SYNC_HTTP_PORT", "unknown variable"},
		{"SECRET_SYNC_INTERVAL", "unknown variable"},
		{"secretsync_directory", "unknown variable"},
		{"Secretsync_Webhook", "did you mean SECRETSYNC_WEBHOOK_URL?"},
		{"SECRETSYNC__DIR", "did you mean SECRETSYNC_DIR?"},
		{"SERCETSYNC_DIR", "did you mean SECRETSYNC_DIR?"},
		{"SECERTSYNC_DIR", "did you mean SECRETSYNC_DIR?"},
		{"SCRETSYNC_DIR", "did you mean SECRETSYNC_DIR?"},
		{"SECRETYSNC_LAYOUT", "did you mean SECRETSYNC_LAYOUT?"},
		{"POD_SERVICE_ACOUNT", "did you mean POD_SERVICE_ACCOUNT?"},
		{"POD_SERVICEACCOUNT", "did you mean POD_SERVICE_ACCOUNT?"},
		{"POD_NAMESPCE", "did you mean POD_NAMESPACE?"},
	} {
		oneProblem(t, []string{tt.name + "=x"}, tt.name, tt.mentions)
	}
}

// TestUnknownVariables_ofOtherPrograms: secret-sync ignores variables that look less like its own.
func TestUnknownVariables_ofOtherPrograms(t *testing.T) {
	for _, name := range []string{"SECRET", "SECRET_KEY", "SECRETS_DIR", "SYNC_DIR", "FOO_SECRETSYNC_DIR", "RSYNC_DIR",
		"POD_IP", "POD_IPS", "POD_ID", "POD_GID", "POD_NODE_NAME", "POD_NODE", "POD_HOST_IP", "POD_LABELS"} {
		oneProblem(t, []string{name + "=x"}, "", "")
	}
}

// TestUnknownVariables_likeAService: the variables of a Service are mistakes without the IP address of the Service,
// which the kubelet sets too.
func TestUnknownVariables_likeAService(t *testing.T) {
	for _, assignment := range []string{
		"SECRETSYNC_HTTP_SERVICE_PORT=8080", "SECRETSYNC_HTTP_SERVICE_PORT_HTTP=8080", "SECRETSYNC_HTTP_PORT=tcp://",
		"SECRETSYNC_HTTP_PORT=tcp://:8080", "SECRETSYNC_HTTP_PORT_8080_TCP_PORT=x",
		"SECRETSYNC_HTTP_PORT_8080_TCP_ADDR=:8080", "SECRETSYNC_HTTP_SERVICE_HOST=yes", "SECRETSYNC_SERVICE_HOST=",
		"SECRET_SYNC_SERVICE_PORT=8080",
	} {
		name, _, _ := strings.Cut(assignment, "=")
		oneProblem(t, []string{assignment, "SECRETSYNC_OTHER_SERVICE_HOST=10.0.0.1"}, name, "unknown variable")
	}
}

func TestUnknown_isOneLine(t *testing.T) {
	environ(t, "SECRETSYNC_A\nB\x1b=x")
	if got := loadText(t); strings.ContainsAny(got, "\n\x1b") || !strings.HasPrefix(got, prefix+"A") {
		t.Errorf("got %q, want one line", got)
	}
}

// TestUnknown_serviceLinks: the kubelet sets these for a Service whose name begins as our variables do.
func TestUnknown_serviceLinks(t *testing.T) {
	for _, service := range []string{"SECRETSYNC", "SECRETSYNC_METRICS", "SECRETSYNC_DIR_2", "SECRET_SYNC",
		"SECRETSYNC_PORT"} {
		environ(t)
		for suffix, value := range map[string]string{
			"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "80", "SERVICE_PORT_HTTP_METRICS": "80",
			"PORT": "tcp://10.0.0.1:80", "PORT_80_TCP": "tcp://10.0.0.1:80",
			"PORT_80_TCP_PROTO": "tcp", "PORT_80_TCP_PORT": "80", "PORT_80_TCP_ADDR": "10.0.0.1",
			"PORT_53_UDP": "udp://10.0.0.1:53", "PORT_53_UDP_ADDR": "10.0.0.1", "PORT_9_SCTP_PORT": "9",
		} {
			t.Setenv(service+"_"+suffix, value)
		}
		if got := loadProblems(t); len(got) > 0 {
			t.Errorf("%s: got %v, want none", service, got)
		}
	}
}

func TestUnknown_generationIsReserved(t *testing.T) {
	oneProblem(t, []string{"SECRETSYNC_GENERATION=7"}, "", "")
	if slices.Contains(variableNames(), prefix+"GENERATION") {
		t.Error("help lists the variable")
	}
}
