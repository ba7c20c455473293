//go:build linux

package process

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A language describes the programs that run a script, and the signal handlers that the language installs
// without a request of the script. Most fields are lists of words.
type language struct {
	programs string // base names without a version
	name     string // in messages
	// The arguments of a program. Arguments of other programs are ignored: "vi app.py" is not app.py.
	skip  string // options followed by a value, except options naming the script, such as -m
	none  string // options that replace the script
	verbs string // first arguments that are not the script

	handles string // signals handled without a request
	fatal   string // a signal that is never useful
	effect  string // of fatal
}

var languages = [...]language{
	{programs: "python pypy", skip: "-W -X", none: "-c"},
	{programs: "sh bash dash ash ksh zsh", skip: "-o -O +o +O --rcfile --init-file", none: "-c -s"},
	{
		programs: "node nodejs", none: "-e --eval -p --print",
		skip: "-r --require --import --loader --experimental-loader -C --conditions --title --stack-trace-limit",
		name: "Node.js", fatal: "SIGUSR1", effect: "opens its debugger",
	},
	{
		programs: "java",
		skip: "-cp -classpath --class-path -p --module-path --upgrade-module-path --add-modules " +
			"--limit-modules --add-opens --add-exports --add-reads --patch-module",
		name: "the JVM", handles: "SIGHUP", fatal: "SIGUSR2", effect: "crashes it",
	},
	{programs: "ruby", skip: "-r -I -C -E", none: "-e", name: "Ruby", handles: "SIGHUP SIGUSR1 SIGUSR2 SIGALRM"},
	{programs: "perl", skip: "-I -M -m", none: "-e -E"},
	{programs: "php", skip: "-d -c -z -S -t", none: "-r", name: "PHP", handles: "SIGHUP SIGUSR1 SIGUSR2"},
	{programs: "lua", skip: "-l", none: "-e"},
	{programs: "R", none: "-e", name: "R", handles: "SIGUSR1 SIGUSR2"},
	{programs: "dotnet", skip: "--depsfile --runtimeconfig --additionalprobingpath --roll-forward", verbs: "exec run"},
	{programs: "mono"},
	{programs: "deno", skip: "-c --config", verbs: "run serve", none: "eval"},
	{programs: "bun", skip: "-r --preload", verbs: "run", none: "-e --eval"},
	{programs: "beam.smp erl", none: "-- -W -K -A -S", name: "Erlang", handles: "SIGUSR1"},
}

// golang describes programs recognized by their executable. They handle every signal.
var golang = language{name: "Go"}

// languageOf returns the language of a program with this name, such as python3.12, or nil.
func languageOf(program string) *language {
	program = strings.TrimRight(path.Base(program), "0123456789.")
	for i, lang := range languages {
		if includes(lang.programs, program) {
			return &languages[i]
		}
	}
	return nil
}

// language returns the language of a process, or nil. A title can replace comm and argv, but not the name of the
// executable. Launchers of Java (jpackage) have other names, but load its library. jsvc replaces the handlers of Java.
// The executable of a Go program contains the build ID note of the Go linker. With another UID or GID, none of them can
// be read.
func (fs *procfs) language(p process) *language {
	argv0 := strings.Join(p.argv[:min(1, len(p.argv))], "")
	exe := filepath.Join(fs.root, strconv.Itoa(p.pid), "exe")
	program, err := os.Readlink(exe)
	fs.examine(err)
	program = strings.TrimSuffix(program, " (deleted)")
	if lang := cmp.Or(languageOf(p.comm), languageOf(argv0), languageOf(program)); lang != nil {
		return lang
	}
	if p.comm != "jsvc" && fs.maps(p.pid, "/libjvm.so") {
		return languageOf("java")
	}
	f, err := os.Open(exe)
	if fs.examine(err) != nil {
		return nil
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(f, 4<<10)) // the notes follow the program headers
	if bytes.Contains(head, []byte("\x04\x00\x00\x00Go\x00\x00")) {
		return &golang
	}
	return nil
}

// maps reports whether the process has mapped a file whose path contains text. It reads line by line: a database can
// have 100,000 mappings, and the list of them would need more memory than the sidecar.
func (fs *procfs) maps(pid int, text string) (found bool) {
	f, err := os.Open(filepath.Join(fs.root, strconv.Itoa(pid), "maps"))
	if fs.examine(err) != nil {
		return false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for !found && lines.Scan() {
		found = bytes.Contains(lines.Bytes(), []byte(text))
	}
	fs.examine(lines.Err())
	return found
}

// is reports whether name is the comm of the process, or a name in its arguments.
func (p process) is(name string) bool {
	const commMax = 15 // the kernel truncates comm
	names := p.names()
	// comm is the beginning of a longer name. Another name that begins in the same way is the longer name.
	return slices.Contains(names, name) || len(name) > commMax && p.comm == name[:commMax] &&
		!slices.ContainsFunc(names[1:], func(other string) bool { return strings.HasPrefix(other, p.comm) })
}

// allNames returns the matching names of the process: "puma, ruby".
func (p process) allNames() string {
	names := p.names()
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// names returns comm and the names in the arguments.
func (p process) names() []string {
	return append([]string{strings.TrimSpace(p.comm)}, argumentNames(p.argv)...)
}

// argumentNames returns the base name of argv[0] or of a title, and of a script.
func argumentNames(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	title, _, ok := strings.Cut(argv[0], ": ") // "php-fpm: master process (/etc/php/fpm.conf)"
	if !ok && len(argv) == 1 {
		title, _, ok = strings.Cut(argv[0], " ") // "puma 5.6.5 (tcp://0.0.0.0:80) [app]", "starman master --listen :80"
	}
	if ok {
		return []string{path.Base(title)}
	}
	name := path.Base(strings.TrimPrefix(title, "-")) // a login shell is "-bash"
	if name == "busybox" {                            // busybox httpd, busybox sh script
		return append(argumentNames(argv[1:]), name)
	}
	return append(languageOf(name).scripts(argv[1:]), name)
}

// scripts returns the names of the script in args, or nothing if there is none, also without a language.
func (lang *language) scripts(args []string) []string {
	for i := 0; lang != nil && i < len(args); i++ {
		option := lang.option(args[i])
		switch {
		case includes(lang.none, option):
			return nil
		case includes(lang.skip, option):
			i++
		case !strings.HasPrefix(option, "-") && !includes(lang.verbs, option):
			option = strings.TrimSuffix(option, "/__main__.py") // a module of Python that executed itself again
			name := path.Base(option)
			dot := strings.LastIndexByte(name, '.')
			if lang.programs == "java" && dot > 0 && name[dot:] != ".jar" {
				return []string{name, name[dot+1:]} // com.example.Main and Main
			}
			return []string{name}
		}
	}
	return nil
}

// option returns the option in arg whose value may follow: the last option of a cluster such as -ec, unless
// a value is attached to the first (-Wignore). Java does not combine options.
func (lang *language) option(arg string) string {
	if lang.programs == "java" || len(arg) < 3 || arg[0] != '-' || arg[1] == '-' || includes(lang.skip, arg[:2]) {
		return arg
	}
	return "-" + arg[len(arg)-1:]
}

// includes reports whether word is in a list of words separated by spaces.
func includes(list, word string) bool {
	return word != "" && slices.Contains(strings.Fields(list), word)
}
