package watcher

import (
	"bytes"
	"fmt"
	"maps"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// coreV1 is the version of the API that Secrets are in.
var coreV1 = schema.GroupVersion{Version: "v1"}

// apiSecret is a Secret as the API server sends it, in JSON or protobuf, without
// the fields that nobody reads here.
//
// It is there for its weight alone. k8s.io/api/core/v1 has a package variable
// that registers all its types, so that the linker keeps every method of each:
// 3.2 MB of the binary, and 1 MB of the memory of each Pod. The tests compare
// the two.
type apiSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Data              map[string][]byte `json:"data,omitempty"`
}

// apiSecretList is the answer to a list.
type apiSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []apiSecret `json:"items"`
}

// newScheme knows Secrets, their list, and what belongs to every API: a Status,
// the options of requests, the events of a watch.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(coreV1.WithKind("Secret"), &apiSecret{})
	scheme.AddKnownTypeWithName(coreV1.WithKind("SecretList"), &apiSecretList{})
	metav1.AddToGroupVersion(scheme, coreV1)
	return scheme
}

// The numbers of the fields, from k8s.io/api/core/v1/generated.proto.
const (
	fieldMetadata = 1 // of a Secret and of a SecretList
	fieldData     = 2 // of a Secret: one entry of the map
	fieldItems    = 2 // of a SecretList
	fieldKey      = 1 // of an entry
	fieldValue    = 2 // of an entry
	fieldLast     = 2 // of all these
)

// Reset empties a Secret, for the protobuf serializer.
func (s *apiSecret) Reset() { *s = apiSecret{} }

// Unmarshal decodes a Secret from protobuf. It copies what it keeps.
func (s *apiSecret) Unmarshal(message []byte) error {
	return eachField(message, func(number protowire.Number, content []byte) error {
		switch number {
		case fieldMetadata:
			return s.ObjectMeta.Unmarshal(content)
		case fieldData:
			return s.unmarshalEntry(content)
		}
		return nil
	})
}

// unmarshalEntry decodes one key of the data. Either half may be missing: that
// is how protobuf writes what is empty.
func (s *apiSecret) unmarshalEntry(message []byte) error {
	key, value := "", []byte{}
	err := eachField(message, func(number protowire.Number, content []byte) error {
		switch number {
		case fieldKey:
			key = string(content)
		case fieldValue:
			value = bytes.Clone(content)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	s.Data[key] = value
	return nil
}

// Reset empties a list, for the protobuf serializer.
func (l *apiSecretList) Reset() { *l = apiSecretList{} }

// Unmarshal decodes a list from protobuf. It copies what it keeps.
func (l *apiSecretList) Unmarshal(message []byte) error {
	return eachField(message, func(number protowire.Number, content []byte) error {
		switch number {
		case fieldMetadata:
			return l.ListMeta.Unmarshal(content)
		case fieldItems:
			l.Items = append(l.Items, apiSecret{})
			return l.Items[len(l.Items)-1].Unmarshal(content)
		}
		return nil
	})
}

// eachField gives do the fields of a message, in their order: all that are used
// are messages, strings or bytes. One of them of another kind is an error; else
// a key could be lost in silence. Fields that came after fieldLast are unknown
// here, or of no use.
func eachField(message []byte, do func(number protowire.Number, content []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("decode protobuf: %w", protowire.ParseError(n))
		}
		message = message[n:]
		n = protowire.ConsumeFieldValue(number, kind, message)
		if n < 0 {
			return fmt.Errorf("decode protobuf: field %d: %w", number, protowire.ParseError(n))
		}
		if number <= fieldLast {
			content, _ := protowire.ConsumeBytes(message)
			if kind != protowire.BytesType {
				return fmt.Errorf("decode protobuf: field %d is of kind %d", number, kind)
			}
			if err := do(number, content); err != nil {
				return err
			}
		}
		message = message[n:]
	}
	return nil
}

// DeepCopyObject makes it a runtime.Object.
func (s *apiSecret) DeepCopyObject() runtime.Object { return s.deepCopy() }

func (s *apiSecret) deepCopy() *apiSecret {
	c := *s
	s.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	c.Data = maps.Clone(s.Data)
	for key, value := range c.Data {
		c.Data[key] = bytes.Clone(value)
	}
	return &c
}

// DeepCopyObject makes it a runtime.Object.
func (l *apiSecretList) DeepCopyObject() runtime.Object {
	c := *l
	l.ListMeta.DeepCopyInto(&c.ListMeta)
	c.Items = make([]apiSecret, len(l.Items))
	for i := range l.Items {
		c.Items[i] = *l.Items[i].deepCopy()
	}
	return &c
}
