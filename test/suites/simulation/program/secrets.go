package program

import "github.com/secret-sync/secret-sync/test/suites/simulation/apiserver"

// The Secrets watched by name.
const (
	Required = "db"
	optional = "extra"

	requiredKey = Required + "-a"
)

// Secrets lists all Secrets that ever exist. The selector matches the last two.
var Secrets = []string{Required, optional, "web1", "web2"}

// Wanted reports whether the volume must contain a Secret.
func Wanted(o *apiserver.Object) bool {
	return o != nil && (o.Name == Required || o.Name == optional || o.Labelled)
}

// Refused reports whether a Secret is rejected: it contains no keys, or it is the required
// Secret without its required key.
func Refused(o *apiserver.Object) bool {
	_, has := o.Data[requiredKey]
	return len(o.Data) == 0 || o.Name == Required && !has
}

// Keys returns the keys of a Secret for a variant. The keys of different Secrets are
// distinct, so all of them fit into one flat directory. db-a is the required key.
func Keys(name string, variant int) []string {
	all := []string{name + "-a", name + "-b", name + "-c"}
	switch variant {
	case 0:
		return all[:1]
	case 1:
		return all
	case 2:
		return []string{} // rejected
	case 3:
		return all[1:] // rejected for db
	}
	return all[:2]
}
