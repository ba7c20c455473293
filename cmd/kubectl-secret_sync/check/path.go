package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A path is the place of a field in an object: names of fields, and indexes of lists.
type path []any

func (p path) add(elements ...any) path { return append(slices.Clone(p), elements...) }

var plainName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// String returns the path in the notation of Kubernetes: spec.containers[0].name.
func (p path) String() string {
	var b strings.Builder
	for _, element := range p {
		switch e := element.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", e)
		case string:
			if !plainName.MatchString(e) {
				fmt.Fprintf(&b, "['%s']", e)
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(e)
		}
	}
	return b.String()
}

// line returns the line of the field in the document. If the field is absent, line returns the
// line of the closest field around it. It returns 0 for a nil node.
func (p path) line(node *yaml.Node) (line int) {
	if node == nil {
		return 0
	}
	line = node.Line
	for _, element := range p {
		for node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		key, value := child(node, element)
		if value == nil {
			return line
		}
		line, node = key.Line, value
	}
	return line
}

// child returns the element of a list, or the key and the value of a field.
func child(node *yaml.Node, element any) (key, value *yaml.Node) {
	switch e := element.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && e < len(node.Content) {
			return node.Content[e], node.Content[e]
		}
	case string:
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == e {
				return node.Content[i], node.Content[i+1]
			}
		}
	}
	return nil, nil
}
