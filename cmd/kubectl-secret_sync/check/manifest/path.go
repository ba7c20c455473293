package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Path is the place of a field in an object: names of fields, and indexes of lists.
type Path []any

// Add returns the path of a field below p.
func (p Path) Add(elements ...any) Path { return append(slices.Clone(p), elements...) }

var plainName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// String returns the path in the notation of Kubernetes: spec.containers[0].name.
func (p Path) String() string {
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

// Line returns the line of a field of the object in its file. If the field is absent, Line returns the line of the
// closest field around it. It returns 0 for an object without a file.
func (o *Object) Line(field Path) (line int) {
	node := o.node
	if node == nil {
		return 0
	}
	line = node.Line
	for _, element := range field {
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
		return merged(node, e)
	}
	return nil, nil
}

// merged returns a field that an object merges from another object: `<<: *name`.
func merged(node *yaml.Node, field string) (key, value *yaml.Node) {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Tag != "!!merge" {
			continue
		}
		for _, source := range sources(node.Content[i+1]) {
			if key, value = child(source, field); value != nil {
				return key, value
			}
		}
	}
	return nil, nil
}

// sources returns the objects of the value of a merge: an alias, an object or a list of both.
func sources(node *yaml.Node) []*yaml.Node {
	switch node.Kind {
	case yaml.AliasNode:
		return sources(node.Alias)
	case yaml.SequenceNode:
		var all []*yaml.Node
		for _, element := range node.Content {
			all = append(all, sources(element)...)
		}
		return all
	}
	return []*yaml.Node{node}
}
