// Package manifest contains the objects that check reads: their places in files, and the sidecars of their Pods.
package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"
)

// An Object is an object of the input.
type Object struct {
	*unstructured.Unstructured
	File string     // empty for an object of a cluster
	node *yaml.Node // the object's text in File, nil if there is none
}

// Into converts the object into a typed object.
func (o *Object) Into(typed any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(o.UnstructuredContent(), typed)
}

// String returns the name of the object in findings.
func (o *Object) String() string { return o.GetKind() + "/" + cmp.Or(o.GetName(), o.GetGenerateName()) }

// Objects returns the objects that a resource.Builder has read. stdin is the text of the
// standard input, if the builder read it.
func Objects(infos []*resource.Info, stdin []byte) (all []*Object) {
	texts := map[string][]*yaml.Node{}
	for _, info := range infos {
		content, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		o := &Object{Unstructured: content}
		if info.Source != "" {
			o.File = info.Source
			if _, read := texts[info.Source]; !read {
				texts[info.Source] = documents(info.Source, stdin)
			}
			texts[info.Source] = o.locate(texts[info.Source])
		}
		all = append(all, o)
	}
	return all
}

// Stdin is the name of the standard input in findings.
const Stdin = "stdin"

// documents returns the objects in a file in their order, or nothing if the source is not a
// local file, for example a URL.
func documents(source string, stdin []byte) (all []*yaml.Node) {
	text := stdin
	if source != Stdin {
		var err error
		if text, err = os.ReadFile(source); err != nil {
			return nil
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(separated(text)))
	for {
		var document yaml.Node
		if decoder.Decode(&document) != nil { // io.EOF, or text that only the builder can read
			return all
		}
		if len(document.Content) == 1 {
			all = append(all, flatten(document.Content[0])...)
		}
	}
}

// separated turns consecutive JSON objects, as `jq` prints them, into documents on the same lines.
func separated(text []byte) []byte {
	decoder, result := json.NewDecoder(bytes.NewReader(text)), []byte(nil)
	for start := int64(0); ; start = decoder.InputOffset() {
		var object json.RawMessage
		if decoder.Decode(&object) != nil {
			return append(result, text[start:]...)
		}
		document := text[start:decoder.InputOffset()]
		if start > 0 { // a directive on a line of its own would change the numbers of the lines
			document = append([]byte("\n--- "), bytes.TrimPrefix(document, []byte("\n"))...)
		}
		result = append(result, document...)
	}
}

// flatten returns the items of a list, or the object itself.
func flatten(node *yaml.Node) []*yaml.Node {
	if _, items := child(node, "items"); items != nil && items.Kind == yaml.SequenceNode {
		return items.Content
	}
	return []*yaml.Node{node}
}

// locate sets the node of the object to the first node of the same kind and name, and returns
// the other nodes.
func (o *Object) locate(nodes []*yaml.Node) []*yaml.Node {
	scalar := func(node *yaml.Node, p ...string) string {
		for _, name := range p {
			if _, node = child(node, name); node == nil {
				return ""
			}
		}
		return node.Value
	}
	i := slices.IndexFunc(nodes, func(n *yaml.Node) bool {
		return scalar(n, "kind") == o.GetKind() && scalar(n, "metadata", "name") == o.GetName() &&
			(scalar(n, "metadata", "namespace") == "" || scalar(n, "metadata", "namespace") == o.GetNamespace())
	})
	if i < 0 {
		return nodes
	}
	o.node = nodes[i]
	return slices.Delete(nodes, i, i+1)
}
