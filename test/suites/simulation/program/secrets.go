package program

import "github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"

// The Secrets that the program watches by name.
const (
	Required = "db"
	optional = "extra"

	requiredKey = Required + "-a"
)

// Secrets are all there ever are; the last two are those of the selector.
var Secrets = []string{Required, optional, "web1", "web2"}

// Wanted reports whether a Secret has to be in the volume.
func Wanted(o *apiserver.Object) bool {
	return o != nil && (o.Name == Required || o.Name == optional || o.Labelled)
}

// Refused reports whether a Secret cannot be laid out: it has no keys, or the required
// one lacks the one that it must have.
func Refused(o *apiserver.Object) bool {
	_, has := o.Data[requiredKey]
	return len(o.Data) == 0 || o.Name == Required && !has
}

// Keys are those that a Secret may have. They differ from Secret to Secret, so that
// all fit into one flat directory. Which a version has varies; db-a is required.
func Keys(name string, variant int) []string {
	all := []string{name + "-a", name + "-b", name + "-c"}
	switch variant {
	case 0:
		return all[:1]
	case 1:
		return all
	case 2:
		return []string{} // refused
	case 3:
		return all[1:] // refused of db
	}
	return all[:2]
}
