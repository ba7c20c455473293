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

// names are those in the arguments.
func (p process) names() []string {
	var names []string
	argv := p.argv
	for len(argv) > 0 {
		first := argv[0]
		// "php-fpm: master process (/etc/php/fpm.conf)", whose comm is php-fpm8.2
		if title, _, ok := strings.Cut(first, ": "); ok {
			return append(names, path.Base(title))
		}
		name := path.Base(strings.TrimPrefix(first, "-")) // "-bash": a login shell
		names = append(names, name)
		if name == "busybox" { // busybox httpd, busybox sh script
			argv = argv[1:]
			continue
		}
		base := strings.TrimRight(name, "0123456789.") // python3.12, php8.2
		for _, lang := range interpreters {
			if has(lang.names, base) {
				names = append(names, lang.scripts(argv[1:])...)
			}
		}
		break
	}
	return names
}

// interpreter is how a program that runs another finds it in its arguments.
// Only known ones are looked into: in "vi app.py" the name means nothing.
type interpreter struct {
	names   string // its own
	skip    string // options with a value that is not the program, unlike -m or -jar
	none    string // options after which there is no program's name
	verbs   string // first arguments that are not the program
	cluster bool   // -ec is -e -c
	class   bool   // com.example.Main is Main as well
}

// interpreters is a list and no map: it is data then, and no code that fills one
// at each start.
var interpreters = [...]interpreter{
	{names: "python pypy", skip: "-W -X", none: "-c", cluster: true},
	{names: "sh bash dash ash ksh zsh", skip: "-o -O +o +O --rcfile --init-file", none: "-c -s", cluster: true},
	{
		names: "node nodejs", none: "-e --eval -p --print -pe",
		skip: "-r --require --import --loader --experimental-loader -C --conditions --title --stack-trace-limit",
	},
	{
		names: "java", class: true,
		skip: "-cp -classpath --class-path -p --module-path --upgrade-module-path --add-modules " +
			"--limit-modules --add-opens --add-exports --add-reads --patch-module",
	},
	{names: "ruby", skip: "-r -I -C -E", none: "-e", cluster: true},
	{names: "perl", skip: "-I -M -m", none: "-e -E", cluster: true},
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
		arg := args[i]
		option := lang.option(arg)
		switch {
		case has(lang.none, option):
			return nil
		case has(lang.skip, option):
			i++
		case strings.HasPrefix(arg, "-"), has(lang.verbs, arg):
		default:
			return lang.called(arg)
		}
	}
	return nil
}

// option returns the option in arg that may take a value: the last of a cluster,
// unless the first has its value attached (-Wignore).
func (lang interpreter) option(arg string) string {
	if !lang.cluster || len(arg) < 3 || arg[0] != '-' || arg[1] == '-' || has(lang.skip, arg[:2]) {
		return arg
	}
	return "-" + arg[len(arg)-1:]
}

func (lang interpreter) called(program string) []string {
	name := path.Base(program)
	if i := strings.LastIndexByte(name, '.'); lang.class && i > 0 && !strings.HasSuffix(name, ".jar") {
		return []string{name, name[i+1:]}
	}
	return []string{name}
}

// has reports whether a list, separated by spaces, has the word.
func has(list, word string) bool {
	return word != "" && slices.Contains(strings.Fields(list), word)
}
