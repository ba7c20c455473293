package process

import (
	"path"
	"slices"
	"strings"
)

// commLength is where the kernel cuts a process's name.
const commLength = 15

// is reports whether a process goes by this name: its comm, the base of its
// argv[0], or of the script that it interprets.
func (p process) is(name string) bool {
	names := p.names()
	if p.comm == name || slices.Contains(names, name) {
		return true
	}
	if len(name) <= commLength || p.comm != name[:commLength] {
		return false
	}
	// comm is the beginning of a longer name, perhaps of another one: an argument
	// that begins alike shows that.
	return !slices.ContainsFunc(names, func(other string) bool {
		return strings.HasPrefix(other, name[:commLength])
	})
}

// names returns those in the arguments.
func (p process) names() []string {
	if len(p.argv) == 0 {
		return nil
	}
	// "php-fpm: master process (/etc/php/fpm.conf)", whose comm is php-fpm8.2
	if title, _, ok := strings.Cut(p.argv[0], ": "); ok {
		return []string{path.Base(title)}
	}
	name := path.Base(strings.TrimPrefix(p.argv[0], "-")) // "-bash": a login shell
	if name == "busybox" {                                // busybox httpd, busybox sh script
		return append(process{argv: p.argv[1:]}.names(), name)
	}
	base := strings.TrimRight(name, "0123456789.") // python3.12, php8.2
	for _, lang := range interpreters {
		if has(lang.names, base) {
			return append(lang.scripts(p.argv[1:]), name)
		}
	}
	return []string{name}
}

// interpreter is how a program that runs another finds it in its arguments.
// Only known ones are looked into: in "vi app.py" the name means nothing.
type interpreter struct {
	names string // its own
	skip  string // options with a value that is not the program, unlike -m or -jar
	none  string // options after which there is no program's name
	verbs string // first arguments that are not the program
}

// interpreters is a list and no map: it is data then, and no code that fills one
// at each start.
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

// scripts returns what the program in these arguments is called; nothing when
// that is not known.
func (lang interpreter) scripts(args []string) []string {
	for i := 0; i < len(args); i++ {
		option := lang.option(args[i])
		switch {
		case has(lang.none, option):
			return nil
		case has(lang.skip, option):
			i++
		case !strings.HasPrefix(option, "-") && !has(lang.verbs, option):
			name := path.Base(option)
			if dot := strings.LastIndexByte(name, '.'); lang.names == "java" && dot > 0 && !strings.HasSuffix(name, ".jar") {
				return []string{name, name[dot+1:]} // com.example.Main is Main as well
			}
			return []string{name}
		}
	}
	return nil
}

// option returns the option in arg that may take a value: of a cluster such as -ec
// the last, unless the first has its value attached (-Wignore). Java has no
// clusters.
func (lang interpreter) option(arg string) string {
	if lang.names == "java" || len(arg) < 3 || arg[0] != '-' || arg[1] == '-' || has(lang.skip, arg[:2]) {
		return arg
	}
	return "-" + arg[len(arg)-1:]
}

// has reports whether a list, separated by spaces, has the word.
func has(list, word string) bool {
	return word != "" && slices.Contains(strings.Fields(list), word)
}
