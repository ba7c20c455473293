package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestLanguages_valid: languages.json contains no unknown field, no program twice, and the texts of each message.
func TestLanguages_valid(t *testing.T) {
	var all []language
	table := json.NewDecoder(bytes.NewReader(languagesJSON))
	table.DisallowUnknownFields()
	if err := table.Decode(&all); err != nil || len(languages()) != len(all) {
		t.Fatalf("%d of %d languages, %v", len(languages()), len(all), err)
	}
	seen := map[string]bool{}
	for _, lang := range all {
		for _, program := range lang.Programs {
			if seen[program] || languageOf(program) == nil {
				t.Errorf("%s is listed twice or not found", program)
			}
			seen[program] = true
		}
		if warns := lang.Handles != nil || lang.Fatal != ""; warns != (lang.Name != "") ||
			(lang.Fatal != "") != (lang.Effect != "") || len(lang.Programs) == 0 {
			t.Errorf("incomplete: %+v", lang)
		}
	}
}

// TestRuntimes_title: a program that replaced its arguments is recognized by its comm.
func TestRuntimes_title(t *testing.T) {
	var warnings []string
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "ruby", argv: []string{"puma 5.6.5 (tcp://0.0.0.0:80) [app]"}, caught: 1})
	p := proc.byName("puma", Options{Signal: unix.SIGHUP, Check: true}, func() {})
	p.opts.Warn = func(message string) { warnings = append(warnings, message) }
	if err := p.Notify(t.Context(), noChanges); err != nil || len(warnings) != 1 {
		t.Errorf("warnings = %q, %v, want one about Ruby", warnings, err)
	}
}

// TestRuntimes_executable: a program that replaced comm and its arguments, and a script that its shebang started, are
// recognized by the executable.
func TestRuntimes_executable(t *testing.T) {
	for _, test := range []struct {
		comm, title, exe string
		signal           syscall.Signal
		want             string // in the error or in the warning
	}{
		{"next-server (v1", "next-server (v14", "/usr/bin/node", unix.SIGUSR1, "in Node.js it opens its debugger"},
		{"next-server (v1", "next-server (v14", "/usr/bin/node (deleted)", unix.SIGUSR1, "in Node.js it opens"},
		{"sidekiq", "sidekiq 7.1 app [0 of 5 busy]", "/usr/bin/ruby3.1", unix.SIGHUP, "Ruby installs a handler"},
		{"puma", "puma 5.6.5 (tcp://0.0.0.0:80) [app]", "/usr/bin/ruby", unix.SIGALRM, "Ruby installs a handler"},
		{"worker", "worker", "/usr/bin/php8.2", unix.SIGUSR1, "PHP installs a handler"},
		{"launcher", "launcher", "/usr/lib/jvm/bin/java", unix.SIGUSR2, "in the JVM it crashes it"},
		{"app", "app", "/usr/bin/app", unix.SIGHUP, ""},
	} {
		var warning string
		proc := newFakeProc(t)
		proc.setProcess(process{
			pid: 7, comm: test.comm, argv: []string{test.title}, caught: 1<<0 | 1<<9 | 1<<11 | 1<<13,
		})
		symlink(t, test.exe, proc.root+"/7/exe")
		p := proc.byName(test.comm, Options{Signal: test.signal, Check: true}, func() {})
		p.opts.Warn = func(message string) { warning = message }
		if err := p.Notify(t.Context(), noChanges); err != nil {
			warning = err.Error()
		}
		if !strings.Contains(warning, test.want) || test.want == "" && warning != "" {
			t.Errorf("%s in %s: %q, want %q", test.comm, test.exe, warning, test.want)
		}
	}
}

// TestRuntimes_fatalWithoutCheck: SECRETSYNC_SIGNAL_CHECK=false permits no signal that is fatal for a runtime.
func TestRuntimes_fatalWithoutCheck(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "java", caught: 1 << 11})
	p := proc.byName("java", Options{Signal: unix.SIGUSR2}, func() {})
	testsupport.WantError(t, p.Notify(t.Context(), noChanges), "in the JVM it crashes it")
	if len(proc.sent) > 0 {
		t.Errorf("signaled %v", proc.sent)
	}
}

// TestRuntimes: a signal is rejected if it is fatal for a runtime. If the handler can be
// the runtime's, there is a single warning.
func TestRuntimes(t *testing.T) {
	for _, test := range []struct {
		argv     string // separated by spaces
		signal   syscall.Signal
		fatal    string
		unproven bool
	}{
		{"ruby app.rb", unix.SIGHUP, "", true},
		{"ruby3.1 app.rb", unix.SIGUSR2, "", true},
		{"php8.2 worker.php", unix.SIGUSR1, "", true},
		{"php-fpm8.2", unix.SIGUSR2, "", false},
		{"java -jar app.jar", unix.SIGHUP, "", true},
		{"/usr/bin/java -jar app.jar", unix.SIGUSR2, "in the JVM it crashes it", false},
		{"node server.js", unix.SIGHUP, "", false},
		{"node server.js", unix.SIGUSR1, "in Node.js it opens its debugger", false},
		{"/usr/lib/erlang/erts/bin/beam.smp", unix.SIGUSR1, "", true},
		{"python3 app.py", unix.SIGHUP, "", false},
		{"/usr/lib/R/bin/exec/R --no-echo --file=app.R", unix.SIGUSR1, "", true},
	} {
		var log strings.Builder
		var warnings []string
		proc := newFakeProc(t)
		proc.setProcess(process{pid: 7, comm: "app", argv: strings.Fields(test.argv), caught: 1<<0 | 1<<9 | 1<<11})
		p := proc.byName("app", Options{Signal: test.signal, Check: true}, func() {})
		p.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		p.opts.Warn = func(message string) { warnings = append(warnings, message) }
		err := errors.Join(p.Notify(t.Context(), noChanges), p.Notify(t.Context(), noChanges))
		if test.fatal != "" {
			testsupport.WantError(t, err, test.fatal, "SECRETSYNC_SIGNAL")
		} else if err != nil {
			t.Errorf("%s: %v", test.argv, err)
		}
		if got := len(warnings) == 1 && strings.Count(log.String(), "WARN") == 1; got != test.unproven {
			t.Errorf("%s, %v: warnings %q, log %s, want one: %v", test.argv, test.signal, warnings, &log, test.unproven)
		}
	}
}

// TestRuntimes_launcher: a launcher with another name runs the JVM if it has loaded its library. jsvc replaces the
// handlers of the JVM.
func TestRuntimes_launcher(t *testing.T) {
	proc := newFakeProc(t)
	proc.setProcess(process{pid: 7, comm: "PaymentService", caught: 1 << 11})
	proc.setProcess(process{
		pid: 8, comm: "jsvc", argv: []string{"jsvc.exec", "-cp", "app.jar", "Main"}, caught: 1 << 11,
	})
	p := proc.byName("PaymentService", Options{Signal: unix.SIGUSR2, Check: true}, func() {})
	const library = "7f00 r-xp 00000000 fe:00 1 /usr/lib/jvm/java-17/lib/server/libjvm.so\n"
	write(t, proc.root+"/7/maps", library)
	write(t, proc.root+"/8/maps", library)
	testsupport.WantError(t, p.Notify(t.Context(), noChanges), "in the JVM it crashes it")
	jsvc := proc.byName("jsvc", Options{Signal: unix.SIGUSR2, Check: true}, func() {})
	if err := jsvc.Notify(t.Context(), noChanges); err != nil || len(proc.sent) != 1 {
		t.Errorf("jsvc: %v, signaled %v", err, proc.sent)
	}
	write(t, proc.root+"/7/maps", "7f00 r-xp 00000000 fe:00 1 /usr/lib/x86_64-linux-gnu/libc.so.6\n")
	if err := p.Notify(t.Context(), noChanges); err != nil {
		t.Errorf("without the library: %v", err)
	}
}

// TestRuntimes_memory: a program with very many mappings or arguments costs the sidecar little memory.
func TestRuntimes_memory(t *testing.T) {
	proc := newFakeProc(t)
	long := strings.Repeat("x", 16<<20)
	proc.setProcess(process{pid: 7, comm: "server", argv: []string{"server", long}, caught: 1})
	mapping := "7f0000000000-7f0000001000 r--s 00000000 fe:00 1 /var/lib/index/segment\n"
	write(t, proc.root+"/7/maps", strings.Repeat(mapping, 200_000)+"7f00 r-xp 00000000 fe:00 1 /opt/lib/libjvm.so\n")
	p := proc.byName("server", Options{Signal: unix.SIGHUP}, func() {})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found, err := p.proc.read(7)
	if err != nil {
		t.Fatal(err)
	}
	if lang := p.proc.language(found); lang == nil || lang.Name != "the JVM" {
		t.Errorf("language %v, want the JVM", lang)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("allocated %d bytes", used)
	}
}

// TestRuntimes_go: a Go program is recognized by its executable.
func TestRuntimes_go(t *testing.T) {
	if New(Options{}).proc.language(process{pid: os.Getpid()}) != &golang {
		t.Error("the test binary is not recognized as a Go program")
	}
	h := runHelper(t, exec.Command("/bin/sh", "-c", "echo ready; read -r line"))
	if New(Options{}).proc.language(process{pid: h.pid}) == &golang {
		t.Error("a shell is recognized as a Go program")
	}
}
