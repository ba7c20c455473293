package config

import (
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// TestRules changes a variable, or several variables of a rule, of a valid environment. wrong
// is the variable with the only problem, and mentions is part of its line. Both are empty if
// the environment stays valid.
func TestRules(t *testing.T) {
	long := strings.Repeat("a", 254)
	for _, tt := range []struct {
		env             []string
		wrong, mentions string
	}{
		{[]string{"POD_NAMESPACE="}, "POD_NAMESPACE", "Required value"},
		{[]string{"POD_NAMESPACE=a.b"}, "POD_NAMESPACE", `"a.b"`},
		{[]string{"POD_NAMESPACE=a-1"}, "", ""},
		{[]string{"POD_NAME=A"}, "POD_NAME", `"A"`},
		{[]string{"POD_NAME=web.0"}, "", ""},
		{[]string{"POD_SERVICE_ACCOUNT=a/b"}, "POD_SERVICE_ACCOUNT", `"a/b"`},
		{[]string{"POD_SERVICE_ACCOUNT=default"}, "", ""},

		{[]string{"SECRETSYNC_SECRETS"}, "SECRETSYNC_SECRETS", "set at least one of SECRETSYNC_SECRETS"},
		{[]string{"SECRETSYNC_SECRETS= "}, "SECRETSYNC_SECRETS", "set at least one of SECRETSYNC_SECRETS"},
		{[]string{"SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS=a"}, "", ""},
		{[]string{"SECRETSYNC_SECRETS", "SECRETSYNC_SELECTOR=a"}, "", ""},
		{[]string{"SECRETSYNC_SECRETS=a.b-c,a.b-c"}, "", ""},
		{[]string{"SECRETSYNC_SECRETS=a,"}, "", ""},
		{[]string{"SECRETSYNC_SECRETS=,"}, "SECRETSYNC_SECRETS", "an entry is empty"},
		{[]string{"SECRETSYNC_SECRETS=a,,b"}, "SECRETSYNC_SECRETS", "an entry is empty"},
		{[]string{"SECRETSYNC_SECRETS=a b"}, "SECRETSYNC_SECRETS", `"a b"`},
		{[]string{"SECRETSYNC_SECRETS=-a"}, "SECRETSYNC_SECRETS", `"-a"`},
		{[]string{"SECRETSYNC_SECRETS=../a"}, "SECRETSYNC_SECRETS", `"../a"`},
		{[]string{"SECRETSYNC_SECRETS=" + long[:253]}, "", ""},
		{[]string{"SECRETSYNC_SECRETS=" + long}, "SECRETSYNC_SECRETS", `aaa..."`},
		{
			[]string{"SECRETSYNC_OPTIONAL_SECRETS=x,tls"},
			"SECRETSYNC_OPTIONAL_SECRETS", `Invalid value: "tls": also in SECRETSYNC_SECRETS`,
		},

		{[]string{"SECRETSYNC_SELECTOR=app in (a,b),!old,x!=y"}, "", ""},
		{[]string{"SECRETSYNC_SELECTOR=app in (a"}, "SECRETSYNC_SELECTOR", "unable to parse"},
		{[]string{"SECRETSYNC_SELECTOR=a=b=c"}, "SECRETSYNC_SELECTOR", `"a=b=c"`},
		{[]string{"SECRETSYNC_SELECTOR=a in\n(\x1bb"}, "SECRETSYNC_SELECTOR", "unable to parse"},
		{[]string{"SECRETSYNC_SELECTOR=a b\x1bc"}, "SECRETSYNC_SELECTOR", "unable to parse"},
		{[]string{"SECRETSYNC_SELECTOR=,"}, "SECRETSYNC_SELECTOR", `","`},
		{[]string{"SECRETSYNC_SELECTOR=a=b c"}, "SECRETSYNC_SELECTOR", `"a=b c"`},

		{[]string{"SECRETSYNC_ITEMS=db/a=x,db/b=y/z,tls/c=x"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db/a=x,db/a=x"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db/a=.../x"}, "SECRETSYNC_ITEMS", "begin with two dots"},
		{[]string{"SECRETSYNC_ITEMS=db/a=.x/y..z"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db"}, "SECRETSYNC_ITEMS", "the = before"},
		{[]string{"SECRETSYNC_ITEMS=db=x"}, "SECRETSYNC_ITEMS", "the / between"},
		{[]string{"SECRETSYNC_ITEMS=Db/a=x"}, "SECRETSYNC_ITEMS", `"Db" is not a valid name`},
		{[]string{"SECRETSYNC_ITEMS=/a=x"}, "SECRETSYNC_ITEMS", `"" is not a valid name`},
		{[]string{"SECRETSYNC_ITEMS=db/=x"}, "SECRETSYNC_ITEMS", `"" is not a valid key`},
		{[]string{"SECRETSYNC_ITEMS=db/a b=x"}, "SECRETSYNC_ITEMS", `"a b" is not a valid key`},
		{[]string{"SECRETSYNC_ITEMS=db/a/b=x"}, "SECRETSYNC_ITEMS", `"a/b" is not a valid key`},
		{[]string{"SECRETSYNC_ITEMS=db/..a=x"}, "SECRETSYNC_ITEMS", `"..a" is not a valid key`},
		{[]string{"SECRETSYNC_ITEMS=db/" + long + "=x"}, "SECRETSYNC_ITEMS", "is not a valid key"},
		{[]string{"SECRETSYNC_ITEMS=db/a="}, "SECRETSYNC_ITEMS", "must be relative, clean"},
		{[]string{"SECRETSYNC_ITEMS=db/a=/x"}, "SECRETSYNC_ITEMS", "must be relative"},
		{[]string{"SECRETSYNC_ITEMS=db/a=."}, "SECRETSYNC_ITEMS", "relative, clean"},
		{[]string{"SECRETSYNC_ITEMS=db/a=./x"}, "SECRETSYNC_ITEMS", "relative, clean"},
		{[]string{"SECRETSYNC_ITEMS=db/a=x/"}, "SECRETSYNC_ITEMS", "relative, clean"},
		{[]string{"SECRETSYNC_ITEMS=db/a=x//y"}, "SECRETSYNC_ITEMS", "relative, clean"},
		{[]string{"SECRETSYNC_ITEMS=db/a=x/../y"}, "SECRETSYNC_ITEMS", "relative, clean"},
		{[]string{"SECRETSYNC_ITEMS=db/a=../y"}, "SECRETSYNC_ITEMS", "begin with two dots"},
		{[]string{"SECRETSYNC_ITEMS=db/a=x/..y"}, "SECRETSYNC_ITEMS", "begin with two dots"},
		{[]string{"SECRETSYNC_ITEMS=db/a=\xff"}, "SECRETSYNC_ITEMS", "UTF-8"},
		{[]string{"SECRETSYNC_ITEMS=db/a=" + strings.Repeat("x", 255)}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db/a=" + strings.Repeat("x", 256)}, "SECRETSYNC_ITEMS", "longer than 255"},
		{[]string{"SECRETSYNC_ITEMS=db/a=" + strings.Repeat("x/", 1792) + "x"}, "SECRETSYNC_ITEMS", "at most 3584"},
		{[]string{"SECRETSYNC_ITEMS=db/a=x,db/a=y"}, "SECRETSYNC_ITEMS", `the key already has the path "x"`},
		{[]string{"SECRETSYNC_ITEMS=db/a=x,db/b=x"}, "SECRETSYNC_ITEMS", "same path"},
		{[]string{"SECRETSYNC_ITEMS=db/a=x,db/b=x/y"}, "SECRETSYNC_ITEMS", "a path is a file or a directory"},
		{[]string{"SECRETSYNC_ITEMS=db/b=x/y/z,db/a=x/y"}, "SECRETSYNC_ITEMS", "a path is a file or a directory"},
		{[]string{"SECRETSYNC_ITEMS=db/a=x,db/b=xy"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=bd/a=x"}, "SECRETSYNC_ITEMS", `Invalid value: "bd/a=x": this Secret is neither`},
		{[]string{"SECRETSYNC_ITEMS=bd/a=x", "SECRETSYNC_SELECTOR=a"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=o/a=x", "SECRETSYNC_OPTIONAL_SECRETS=o"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db/a=x", "SECRETSYNC_SECRETS=DB"}, "SECRETSYNC_SECRETS", `"DB"`}, // and no more

		{[]string{"SECRETSYNC_ITEMS=db/a+b=x,db/a=y,db/b+a=z:0600"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db/a+b=x,db/a+b=y"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db/a+a=x"}, "SECRETSYNC_ITEMS", `the key "a" is listed twice`},
		{[]string{"SECRETSYNC_ITEMS=db/a+=x"}, "SECRETSYNC_ITEMS", `"" is not a valid key`},
		{[]string{"SECRETSYNC_ITEMS=db/a+tls/b=x"}, "SECRETSYNC_ITEMS", `"tls/b" is not a valid key`},
		{[]string{"SECRETSYNC_ITEMS=db/a=x,db/a+b=x"}, "SECRETSYNC_ITEMS", "same path"},

		{[]string{"SECRETSYNC_ENV_FILES=db=db.env,tls/a+B_1=x:0600"}, "", ""},
		{[]string{"SECRETSYNC_ENV_FILES=db=a,db=b,db/x=c,db/x=d", "SECRETSYNC_ITEMS=db/x=x"}, "", ""},
		{[]string{"SECRETSYNC_ENV_FILES=db"}, "SECRETSYNC_ENV_FILES", "the = before"},
		{[]string{"SECRETSYNC_ENV_FILES=Db=x"}, "SECRETSYNC_ENV_FILES", `"Db" is not a valid name`},
		{[]string{"SECRETSYNC_ENV_FILES=db/=x"}, "SECRETSYNC_ENV_FILES", `"" is not a valid key`},
		{[]string{"SECRETSYNC_ENV_FILES=db=../x"}, "SECRETSYNC_ENV_FILES", "must be relative"},
		{[]string{"SECRETSYNC_ENV_FILES=db=x:256"}, "SECRETSYNC_ENV_FILES", "did you mean 0400"},
		{[]string{"SECRETSYNC_ENV_FILES=db/a+b.c=x"}, "SECRETSYNC_ENV_FILES",
			`"b.c" is not a valid name of an environment`},
		{[]string{"SECRETSYNC_ENV_FILES=db/1a=x"}, "SECRETSYNC_ENV_FILES", "no digit first"},
		{[]string{"SECRETSYNC_ENV_FILES=db=x,db/a=x"}, "SECRETSYNC_ENV_FILES", "same path"},
		{[]string{"SECRETSYNC_ENV_FILES=db=x", "SECRETSYNC_ITEMS=db/a=x"}, "SECRETSYNC_ENV_FILES", "same path"},
		{[]string{"SECRETSYNC_ENV_FILES=db=x/y", "SECRETSYNC_ITEMS=db/a=x"}, "SECRETSYNC_ENV_FILES",
			"a file or a directory"},
		{[]string{"SECRETSYNC_ENV_FILES=bd=x"}, "SECRETSYNC_ENV_FILES", `Invalid value: "bd=x": this Secret is neither`},
		{[]string{"SECRETSYNC_ENV_FILES=bd=x", "SECRETSYNC_SELECTOR=a"}, "", ""},

		{[]string{"SECRETSYNC_REQUIRED_KEYS=db/a,db/a,tls/b,db/c+d"}, "", ""},
		{[]string{"SECRETSYNC_REQUIRED_KEYS=db/b", "SECRETSYNC_ITEMS=db/a=x"}, "", ""},
		{[]string{"SECRETSYNC_REQUIRED_KEYS=db"}, "SECRETSYNC_REQUIRED_KEYS", "the / between"},
		{[]string{"SECRETSYNC_REQUIRED_KEYS=db/..x"}, "SECRETSYNC_REQUIRED_KEYS", "is not a valid key"},
		{
			[]string{"SECRETSYNC_REQUIRED_KEYS=bd/a"},
			"SECRETSYNC_REQUIRED_KEYS", `Invalid value: "bd/a": this Secret is neither`,
		},

		{[]string{"SECRETSYNC_DIR=secrets"}, "SECRETSYNC_DIR", `"secrets"`},
		{[]string{"SECRETSYNC_DIR=/"}, "SECRETSYNC_DIR", `"/"`},
		{[]string{"SECRETSYNC_DIR=//"}, "SECRETSYNC_DIR", `"//"`},
		{[]string{"SECRETSYNC_DIR=/a/../b"}, "SECRETSYNC_DIR", `"/a/../b"`},
		{[]string{"SECRETSYNC_DIR=/a//"}, "", ""},
		{[]string{"SECRETSYNC_LAYOUT=Flat"}, "SECRETSYNC_LAYOUT", "nested or flat"},
		{[]string{"SECRETSYNC_FILE_MODE=0"}, "", ""},
		{[]string{"SECRETSYNC_FILE_MODE=0o600"}, "", ""},
		{[]string{"SECRETSYNC_FILE_MODE=0777"}, "", ""},
		{[]string{"SECRETSYNC_FILE_MODE=01777"}, "SECRETSYNC_FILE_MODE", `"01777"`},
		{[]string{"SECRETSYNC_FILE_MODE=0x1f"}, "SECRETSYNC_FILE_MODE", "octal"},
		{[]string{"SECRETSYNC_FILE_MODE=688"}, "SECRETSYNC_FILE_MODE", "octal"},
		{[]string{"SECRETSYNC_FILE_MODE=-1"}, "SECRETSYNC_FILE_MODE", "octal"},
		{
			[]string{"SECRETSYNC_FILE_MODE=256"},
			"SECRETSYNC_FILE_MODE", "did you mean 0400, which is 256 as a decimal number",
		},
		{[]string{"SECRETSYNC_FILE_MODE=288"}, "SECRETSYNC_FILE_MODE", "did you mean 0440"},
		{[]string{"SECRETSYNC_FILE_MODE=384"}, "SECRETSYNC_FILE_MODE", "did you mean 0600"},
		{[]string{"SECRETSYNC_FILE_MODE=416"}, "SECRETSYNC_FILE_MODE", "did you mean 0640"},
		{[]string{"SECRETSYNC_FILE_MODE=420"}, "SECRETSYNC_FILE_MODE", "did you mean 0644"},
		{[]string{"SECRETSYNC_FILE_MODE=493"}, "SECRETSYNC_FILE_MODE", "did you mean 0755"},
		{[]string{"SECRETSYNC_FILE_MODE=511"}, "SECRETSYNC_FILE_MODE", "did you mean 0777"},
		{[]string{"SECRETSYNC_FILE_MODE=504"}, "SECRETSYNC_FILE_MODE", "did you mean 0770"},
		{[]string{"SECRETSYNC_FILE_MODE=500"}, "", ""},  // 0500 rather than 0764
		{[]string{"SECRETSYNC_FILE_MODE=0420"}, "", ""}, // certainly octal
		{[]string{"SECRETSYNC_FILE_MODE=400"}, "", ""},  // usual as an octal mode
		{[]string{"SECRETSYNC_FILE_MODE=444"}, "", ""},
		{[]string{"SECRETSYNC_FILE_MODE=750"}, "", ""},
		{[]string{"SECRETSYNC_ITEMS=db/a=x:256"}, "SECRETSYNC_ITEMS", "did you mean 0400"},
		{[]string{"SECRETSYNC_FILE_MODE=rw-r--r--"}, "SECRETSYNC_FILE_MODE", "octal"},
		{[]string{"SECRETSYNC_ON_DELETE=delete"}, "SECRETSYNC_ON_DELETE", "keep or remove"},
		{[]string{"SECRETSYNC_SETTLE=0"}, "", ""},
		{[]string{"SECRETSYNC_SETTLE=5"}, "SECRETSYNC_SETTLE", "with its unit"},
		{[]string{"SECRETSYNC_SETTLE=8761h"}, "SECRETSYNC_SETTLE", "to 8760h"},
		{[]string{"SECRETSYNC_SPLAY=-1ns"}, "SECRETSYNC_SPLAY", "from 0s"},
		{[]string{"SECRETSYNC_PROCESS_MIN_AGE=x"}, "SECRETSYNC_PROCESS_MIN_AGE", `"x"`},
		{[]string{"SECRETSYNC_SYNC_TIMEOUT=-1m"}, "SECRETSYNC_SYNC_TIMEOUT", "from 0s"},
		{[]string{"SECRETSYNC_WEBHOOK_TIMEOUT=0s"}, "SECRETSYNC_WEBHOOK_TIMEOUT", "above 0s"},
		{[]string{"SECRETSYNC_EXEC_TIMEOUT=0s"}, "SECRETSYNC_EXEC_TIMEOUT", "above 0s"},
		{[]string{"SECRETSYNC_NOTIFY_FIRST=yes"}, "SECRETSYNC_NOTIFY_FIRST", "true or false"},
		{[]string{"SECRETSYNC_SIGNAL_CHECK=2"}, "SECRETSYNC_SIGNAL_CHECK", "true or false"},

		{[]string{"SECRETSYNC_HTTP_ADDR=29808"}, "SECRETSYNC_HTTP_ADDR", ":29808"},
		{[]string{"SECRETSYNC_HTTP_ADDR=:http"}, "SECRETSYNC_HTTP_ADDR", ":port"},
		{[]string{"SECRETSYNC_HTTP_ADDR=:65536"}, "SECRETSYNC_HTTP_ADDR", ":port"},
		{[]string{"SECRETSYNC_HTTP_ADDR=a b:1"}, "SECRETSYNC_HTTP_ADDR", ":port"},
		{[]string{"SECRETSYNC_HTTP_ADDR=[::]:1"}, "", ""},
		{[]string{"SECRETSYNC_HTTP_ADDR=0.0.0.0:1"}, "", ""},
		{[]string{"SECRETSYNC_LOG_LEVEL=trace"}, "SECRETSYNC_LOG_LEVEL", "debug, info, warn or error"},
		{[]string{"SECRETSYNC_LOG_OUTPUT=file"}, "SECRETSYNC_LOG_OUTPUT", "stderr or stdout"},
		{[]string{"SECRETSYNC_LOG_FORMAT=logfmt"}, "SECRETSYNC_LOG_FORMAT", "json or text"},
		{[]string{"SECRETSYNC_EVENTS=true", "POD_NAME=a"}, "POD_UID", "SECRETSYNC_EVENTS is true"},
		{[]string{"SECRETSYNC_EVENTS=true", "POD_UID=a"}, "POD_NAME", "SECRETSYNC_EVENTS is true"},
		{[]string{"SECRETSYNC_EVENTS=true", "POD_NAME=a", "POD_UID=b"}, "", ""},
		{[]string{"POD_NAMESPACE=", "SECRETSYNC_EVENTS=true", "POD_NAME=a", "POD_UID=b"}, "POD_NAMESPACE", "Required"},
	} {
		t.Run(strings.Join(tt.env, " ")[:min(60, len(strings.Join(tt.env, " ")))], func(t *testing.T) {
			oneProblem(t, tt.env, tt.wrong, tt.mentions)
		})
	}
}

// oneProblem checks for a single problem in a variable. The problem must mention a thing, in
// a single line. Without a variable, oneProblem checks for the absence of problems.
func oneProblem(t *testing.T, env []string, wrong, mentions string) {
	t.Helper()
	environ(t, env...)
	got := loadProblems(t)
	if wrong == "" {
		if len(got) > 0 {
			t.Errorf("got %v, want no problem", got)
		}
		return
	}
	if len(got) != 1 || got[0].Variable != wrong {
		t.Fatalf("got %v, want one problem in %s", got, wrong)
	}
	line := loadText(t)
	if !strings.Contains(line, mentions) || strings.ContainsAny(line, "\n\x1b") ||
		!strings.HasPrefix(line, wrong+": ") {
		t.Errorf("got %q, want one line on %s with %q", line, wrong, mentions)
	}
}

func TestFileMode_ownerMayRead(t *testing.T) {
	for value, want := range map[string]uint32{"0": 0o400, "0077": 0o477, "640": 0o640, "0o755": 0o755} {
		environ(t, "SECRETSYNC_FILE_MODE="+value)
		if got, err := Load(); err != nil || uint32(got.FileMode) != want {
			t.Errorf("%s: got %+v, %v, want %o", value, got, err, want)
		}
	}
}

// FuzzItems: accepted items can be written as files, and each problem is a single line.
func FuzzItems(f *testing.F) {
	for _, seed := range []string{
		"db/a=x", "db/a=x,db/b=x/y", "db/a=x,,", "db/a=../x", "tls/tls.key=certs/key", "=", "db/a=x\x00", "a/b=c=d",
		"a/b+c=d", "a=x",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, value string, env bool) {
		p, items := problems{}, layout.Items{}
		each(p, "SECRETSYNC_ITEMS", List(value), "items",
			func(entry string) (string, error) { return items.Add(entry, env) })
		for secret, files := range items {
			if !isSubdomain(secret) || len(files) == 0 {
				t.Errorf("%q: Secret %q with %d items", value, secret, len(files))
			}
			for i, item := range files {
				if !generation.ValidPath(item.Path) || strings.ContainsAny(strings.Join(item.Keys, ""), "/=,+") ||
					len(item.Keys) == 0 && !env {
					t.Errorf("%q: %q at %q", value, item.Keys, item.Path)
				}
				for j, other := range files {
					if i != j && strings.HasPrefix(other.Path+"/", item.Path+"/") {
						t.Errorf("%q: %q and %q conflict", value, item.Path, other.Path)
					}
				}
			}
		}
		for _, problem := range p["SECRETSYNC_ITEMS"] {
			if strings.ContainsAny(problem.Error(), "\n\r") {
				t.Errorf("%q: more than one line: %q", value, problem.Error())
			}
		}
	})
}
