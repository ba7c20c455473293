package config

import (
	"io/fs"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/notifier/webhook"
)

// The types of variables, as help names them.
type (
	name      struct{ value[string] } // of a Kubernetes object
	choice    struct{ value[string] } // one of the tag oneof
	boolean   struct{ value[bool] }
	duration  struct{ value[time.Duration] }
	octal     struct{ value[fs.FileMode] } // the owner may always read
	directory struct{ value[string] }      // a clean absolute path, whether or not a slash ends it
	file      struct{ value[string] }      // an absolute path
	address   struct{ value[string] }      // host:port to listen at; port 0 takes a free one
	signal    struct{ value[syscall.Signal] }
	method    struct{ value[string] }
	jsonList  struct{ value[[]string] } // a command and its arguments

	names    struct{ value[[]string] } // of Secrets, in the order given, each once
	selector struct{ value[string] }
	keys     struct{ value[map[string][]string] } // by the Secret's name
	items    struct {
		value[map[string]map[string]string]                                   // paths, by Secret and key
		Modes                               map[string]map[string]fs.FileMode // of files that have one of their own, by Secret and path
	}
	processes struct{ value[[]Signalled] } // names to compare with others that have no slash
	pidFiles  struct{ value[[]Signalled] } // paths
	urls      struct{ value[[]*webhook.URL] }
)

// parser is one field of Config: a variable of a certain type.
type parser interface {
	common() *variable
	// parse stores the value of s, which is not empty, and records what is wrong
	// with it.
	parse(s string)
}

// value is what the types of fields embed.
type value[T any] struct {
	variable
	Value T // the zero value if the variable is not set and has no default
}

// set stores a value. Unless it is valid, what the variable is set to is rejected.
func (v *value[T]) set(value T, valid bool, allowed string) {
	if v.Value = value; !valid {
		v.reject(v.text, "", allowed)
	}
}

// variable is what all fields have in common.
type variable struct {
	parser   parser // the field that embeds this
	name     string
	tag      reflect.StructTag // its line of the table
	text     string            // what it is set to, without white space around it
	problems []error           // each a *field.Error
}

func (v *variable) common() *variable { return v }

// Decode implements envconfig.Decoder. It keeps the problems and returns none:
// envconfig stops at the first error, and a user wants to see all at once. A
// variable set to nothing counts as not set, since manifests are full of
// `value: ""`.
func (v *variable) Decode(s string) error {
	v.text = strings.TrimSpace(s)
	if v.text == "" && !v.has("empty") {
		v.text = v.tag.Get("default")
	}
	if v.text != "" {
		v.parser.parse(v.text)
	}
	return nil
}

func (v *variable) has(tag string) bool { return v.tag.Get(tag) != "" }
