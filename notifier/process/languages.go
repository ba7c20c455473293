//go:build linux

package process

import (
	"bufio"
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A language describes the programs that run a script, and the signal handlers that the language installs
// without a request of the script.
type language struct {
	Programs []string // base names without a version
	Name     string   // in messages
	// The arguments of a program. Arguments of other programs are ignored: "vi app.py" is not app.py.
	Skip  []string // options followed by a value, except options naming the script, such as -m
	None  []string // options that replace the script
	Verbs []string // first arguments that are not the script

	Handles []string // signals handled without a request
	Fatal   string   // a signal that is never useful
	Effect  string   // of Fatal
}

//go:embed languages.json
var languagesJSON []byte

// languages returns the languages of languages.json.
var languages = sync.OnceValue(func() (all []*language) {
	_ = json.Unmarshal(languagesJSON, &all) // a test checks it
	return all
})

// golang describes programs recognized by their executable. They handle every signal.
var golang = language{Name: "Go"}

// languageOf returns the language of a program with this name, such as python3.12, or nil.
func languageOf(program string) *language {
	program = strings.TrimRight(path.Base(program), "0123456789.")
	for _, lang := range languages() {
		if slices.Contains(lang.Programs, program) {
			return lang
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
		case slices.Contains(lang.None, option):
			return nil
		case slices.Contains(lang.Skip, option):
			i++
		case !strings.HasPrefix(option, "-") && !slices.Contains(lang.Verbs, option):
			option = strings.TrimSuffix(option, "/__main__.py") // a module of Python that executed itself again
			name := path.Base(option)
			dot := strings.LastIndexByte(name, '.')
			if lang.Programs[0] == "java" && dot > 0 && name[dot:] != ".jar" {
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
	single := len(arg) < 3 || arg[0] != '-' || arg[1] == '-'
	if lang.Programs[0] == "java" || single || slices.Contains(lang.Skip, arg[:2]) {
		return arg
	}
	return "-" + arg[len(arg)-1:]
}
