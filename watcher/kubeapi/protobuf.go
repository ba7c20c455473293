package kubeapi

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// The numbers of the fields, from k8s.io/api/core/v1/generated.proto.
const (
	fieldMetadata = 1 // of a Secret and of a SecretList
	fieldData     = 2 // of a Secret: one entry of the map
	fieldItems    = 2 // of a SecretList
	fieldKey      = 1 // of an entry
	fieldValue    = 2 // of an entry
	fieldLast     = 2 // of all these
)

// Unmarshal decodes a Secret from protobuf. It copies what it keeps.
func (s *Secret) Unmarshal(message []byte) error {
	return eachField(message, func(number protowire.Number, content []byte) error {
		if number == fieldMetadata {
			return s.Metadata.unmarshal(content)
		}
		return s.unmarshalEntry(content)
	})
}

func (m *Metadata) unmarshal(message []byte) error {
	var all metav1.ObjectMeta
	err := all.Unmarshal(message)
	*m = Metadata{all.Name, all.Namespace, string(all.UID), all.ResourceVersion, all.Labels}
	return err
}

// unmarshalEntry decodes one key of the data. Either half may be missing: that
// is how protobuf writes what is empty.
func (s *Secret) unmarshalEntry(message []byte) error {
	key, value := "", secret.Value{}
	err := eachField(message, func(number protowire.Number, content []byte) error {
		if number == fieldKey {
			key = string(content)
		} else {
			value = bytes.Clone(content)
		}
		return nil
	})
	if s.Data == nil {
		s.Data = map[string]secret.Value{}
	}
	s.Data[key] = value
	return err
}

// Unmarshal decodes a list from protobuf. It copies what it keeps.
func (l *SecretList) Unmarshal(message []byte) error {
	return eachField(message, func(number protowire.Number, content []byte) error {
		if number == fieldMetadata {
			return l.ListMeta.Unmarshal(content)
		}
		l.Items = append(l.Items, Secret{})
		return l.Items[len(l.Items)-1].Unmarshal(content)
	})
}

// eachField calls do for each field of a message that is used, in order: those of the
// numbers 1 and 2. All of these are messages, strings or bytes; another kind is an
// error, because a key could be lost unnoticed.
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
