package process

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// commLength is the length to which the kernel truncates comm.
const commLength = 15

// is reports whether name is the comm of the process, or a name in its arguments.
func (p process) is(name string) bool {
	names := p.names()
	if strings.TrimSpace(p.comm) == name || slices.Contains(names, name) {
		return true
	}
	if len(name) <= commLength || p.comm != name[:commLength] {
		return false
	}
	// comm is the beginning of a longer name, which may be a different name. Then an
	// argument begins in the same way.
	return !slices.ContainsFunc(names, func(other string) bool {
		return strings.HasPrefix(other, name[:commLength])
	})
}

// allNames returns the PID and the matching names of the process: "7 (ruby, puma)".
func (p process) allNames() string {
	names := []string{strings.TrimSpace(p.comm)}
	for _, name := range p.names() {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return fmt.Sprintf("%d (%s)", p.pid, strings.Join(names, ", "))
}

// names returns the names in the arguments: the base name of argv[0], of a title or of a
// script.
func (p process) names() []string {
	if len(p.argv) == 0 {
		return nil
	}
	// "php-fpm: master process (/etc/php/fpm.conf)", whose comm is php-fpm8.2
	if title, _, ok := strings.Cut(p.argv[0], ": "); ok {
		return []string{path.Base(title)}
	}
	name := path.Base(strings.TrimPrefix(p.argv[0], "-")) // a login shell is "-bash"
	// "puma 5.6.5 (tcp://0.0.0.0:80) [app]", "starman master --listen :80"
	if title, _, ok := strings.Cut(p.argv[0], " "); ok && len(p.argv) == 1 {
		return []string{path.Base(title)}
	}
	if name == "busybox" { // busybox httpd, busybox sh script
		return append(process{argv: p.argv[1:]}.names(), name)
	}
	base := strings.TrimRight(name, "0123456789.") // python3.12, php8.2
	for _, lang := range interpreters {
		if includes(lang.names, base) {
			return append(lang.scripts(p.argv[1:]), name)
		}
	}
	return []string{name}
}

// An interpreter describes the arguments of a program that runs a script. The arguments
// of other programs are ignored: "vi app.py" is not app.py.
type interpreter struct {
	names string // of the interpreter
	skip  string // options followed by a value, except options naming the script, such as -m
	none  string // options that replace the script
	verbs string // first arguments that are not the script
}

// The fields are lists of words, so interpreters is constant data and needs no
// initialization at startup.
var interpreters = [...]interpreter{
	{names: "python pypy", skip: "-W -X", none: "-c"},
	{names: "sh bash dash ash ksh zsh", skip: "-o -O +o +O --rcfile --init-file", none: "-c -s"},
	{
		names: "node nodejs", none: "-e --eval -p --print",
		skip: "-r --require --import --loader --experimental-loader -C --conditions --title --stack-trace-limit",
	},
	{
		names: "java",
		skip: "-cp -classpath --class-path -p --module-path --upgrade-module-path --add-modules " +
			"--limit-modules --add-opens --add-exports --add-reads --patch-module",
	},
	{names: "ruby", skip: "-r -I -C -E", none: "-e"},
	{names: "perl", skip: "-I -M -m", none: "-e -E"},
	{names: "php", skip: "-d -c -z -S -t", none: "-r"},
	{names: "lua", skip: "-l", none: "-e"},
	{names: "dotnet", skip: "--depsfile --runtimeconfig --additionalprobingpath --roll-forward", verbs: "exec run"},
	{names: "deno", skip: "-c --config", verbs: "run serve", none: "eval"},
	{names: "bun", skip: "-r --preload", verbs: "run", none: "-e --eval"},
}

// scripts returns the names of the script in args, or nothing if there is none.
func (lang interpreter) scripts(args []string) []string {
	for i := 0; i < len(args); i++ {
		option := lang.option(args[i])
		switch {
		case includes(lang.none, option):
			return nil
		case includes(lang.skip, option):
			i++
		case !strings.HasPrefix(option, "-") && !includes(lang.verbs, option):
			name := path.Base(option)
			if dot := strings.LastIndexByte(name, '.'); lang.names == "java" && dot > 0 && !strings.HasSuffix(name, ".jar") {
				return []string{name, name[dot+1:]} // com.example.Main and Main
			}
			return []string{name}
		}
	}
	return nil
}

// option returns the option in arg whose value may follow: the last option of a cluster
// such as -ec, unless a value is attached to the first (-Wignore). Java does not
// combine options.
func (lang interpreter) option(arg string) string {
	if lang.names == "java" || len(arg) < 3 || arg[0] != '-' || arg[1] == '-' || includes(lang.skip, arg[:2]) {
		return arg
	}
	return "-" + arg[len(arg)-1:]
}

// includes reports whether word is in a list of words separated by spaces.
func includes(list, word string) bool {
	return word != "" && slices.Contains(strings.Fields(list), word)
}
