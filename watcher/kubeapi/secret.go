package kubeapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"mime"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// Secret is a Secret as the API server sends it, without what is not used here:
// annotations and managed fields can be larger than the data.
//
// k8s.io/api/core/v1 has one, too, but it registers the types of its whole group,
// so that the linker keeps every method of each: 3.2 MB of the binary, and 1 MB
// of memory. The tests compare the two.
type Secret struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        `json:"metadata"`
	Data            map[string]secret.Value `json:"data"`
}

// Metadata is what is used of a Secret's.
type Metadata struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace"`
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Labels          map[string]string `json:"labels"`
}

// coreV1 is the version of the API that Secrets are in.
var coreV1 = schema.GroupVersion{Version: "v1"}

// SecretList is the answer to a list.
type SecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Secret `json:"items"`
}

// Event is one event of a watch. A bookmark's Secret has a ResourceVersion only.
type Event struct {
	Type   watch.EventType // never watch.Error
	Secret *Secret
}

// object is what an answer has in it: a list, a Secret, a Status.
type object interface {
	GetObjectKind() schema.ObjectKind // from JSON
	Unmarshal(protobuf []byte) error
}

// mediaType gives the type of an answer. Without one it is JSON, as in client-go.
func mediaType(answer *http.Response) string {
	contentType := answer.Header.Get("Content-Type")
	if contentType == "" {
		return JSON
	}
	is, _, _ := mime.ParseMediaType(contentType)
	return is
}

// decode decodes an object of an answer, and reports whether it is of that kind. The
// object has to name it: "{}" would be an empty list, which says that the Secret was
// deleted.
func decode(answer *http.Response, data []byte, kind string, into object) bool {
	switch mediaType(answer) {
	case JSON:
		is := into.GetObjectKind()
		return json.Unmarshal(data, into) == nil && is.GroupVersionKind() == coreV1.WithKind(kind)
	case protobuf:
		var envelope runtime.Unknown
		data, found := bytes.CutPrefix(data, []byte("k8s\x00"))
		return found && envelope.Unmarshal(data) == nil && envelope.GroupVersionKind() == coreV1.WithKind(kind) &&
			into.Unmarshal(envelope.Raw) == nil
	}
	return false
}

// largestEvent limits an event of protobuf: garbage may begin with any length.
const largestEvent = 16 << 20

// eventReader gives a function that reads one event of a watch after the other. Its
// error is one of the connection. What is not an event has no type.
func eventReader(answer *http.Response) func() (metav1.WatchEvent, error) {
	if mediaType(answer) == protobuf {
		return func() (metav1.WatchEvent, error) { return readProtobuf(answer.Body) }
	}
	decoder := json.NewDecoder(answer.Body)
	return func() (event metav1.WatchEvent, err error) {
		err = decoder.Decode(&event)
		switch err.(type) {
		case *json.SyntaxError, *json.UnmarshalTypeError:
			return metav1.WatchEvent{}, nil
		}
		return event, err
	}
}

// readProtobuf reads an event that comes after its length.
func readProtobuf(body io.Reader) (event metav1.WatchEvent, err error) {
	var length [4]byte
	if _, err := io.ReadFull(body, length[:]); err != nil {
		return event, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > largestEvent {
		return event, nil
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(body, message); err != nil {
		return event, err
	}
	if event.Unmarshal(message) != nil {
		return metav1.WatchEvent{}, nil
	}
	return event, nil
}
