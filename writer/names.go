package writer

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The names of our own in the volume. All begin with "..", which neither the
// key of a Secret nor an item's path may do.
const (
	dataLink   = "..data"          // leads to the generation that apps read
	notifyFile = "..notified.json" // what each target was told last
	temporary  = "_tmp"            // ends what is made beside its final name and renamed to it
	linkTemp   = "..link" + temporary
)

var generationName = regexp.MustCompile(`^\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+$`)

// newName gives a generation's directory the form that the kubelet uses: the
// time in UTC, then digits.
func newName(now time.Time) string { return now.UTC().Format("..2006_01_02_15_04_05.000000000") }

func recordName(generation string) string { return generation + ".json" }

// isOwn tells whether name, directly in the volume, is one that only we use.
func isOwn(name string) bool {
	if name == dataLink || name == notifyFile || name == linkTemp {
		return true
	}
	name = strings.TrimSuffix(name, temporary)
	return name == dataLink || name == notifyFile || generationName.MatchString(strings.TrimSuffix(name, ".json"))
}

// inGeneration is where a file lies inside its generation's directory.
func inGeneration(flat bool, secret, file string) string {
	if flat {
		return file
	}
	return path.Join(secret, file)
}

// links has every link that leads apps to a generation of these files: name →
// target, both as in the volume. In the nested layout the directory of a
// Secret has the name of its "..data" link's parent.
//
//	flat:    password     → ..data/password
//	nested:  db/password  → ..data/password   and   db/..data → ../..data/db
func links(flat bool, secrets map[string]Files) map[string]string {
	out := map[string]string{}
	for name, files := range secrets {
		if !flat {
			out[path.Join(name, dataLink)] = path.Join("..", dataLink, name)
		}
		for file := range files.Content {
			first, _, _ := strings.Cut(file, "/")
			if flat {
				out[first] = path.Join(dataLink, first)
			} else {
				out[path.Join(name, first)] = path.Join(dataLink, first)
			}
		}
	}
	return out
}

// ownTarget is what a link of ours of this name leads to, whatever Secrets
// there are: how our links are told from others'.
func ownTarget(name string) string {
	if secret, base := path.Split(name); base == dataLink && secret != "" {
		return path.Join("..", dataLink, secret)
	}
	return path.Join(dataLink, path.Base(name))
}

// sortedKeys is slices.Sorted(maps.Keys(m)) with one allocation: it is called
// often in each publish.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// dirMode gives a directory x where its files have r, no w but the owner's,
// who always has all: unlinking needs it.
func dirMode(fileMode fs.FileMode) fs.FileMode {
	r := fileMode & 0o444
	return 0o700 | r | r>>2
}
