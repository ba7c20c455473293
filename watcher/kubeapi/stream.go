package kubeapi

import (
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	restwatch "k8s.io/client-go/rest/watch"
)

// Event is one event of a watch. A bookmark's Secret has a ResourceVersion only.
type Event struct {
	Type   watch.EventType // never watch.Error
	Secret *Secret
}

// Stream is an open watch. It is read by the goroutine that wants the events:
// client-go's own watch has a goroutine and a channel between, and does not tell
// a broken connection from an event that cannot be decoded.
type Stream struct {
	body    *body
	decoder *restwatch.Decoder
}

func newStream(b *body, codec runtime.SerializerInfo) *Stream {
	frames := codec.StreamSerializer.NewFrameReader(b)
	events := streaming.NewDecoder(frames, codec.StreamSerializer.Serializer)
	return &Stream{body: b, decoder: restwatch.NewDecoder(events, codec.Serializer)}
}

// Next waits for an event. io.EOF: the server ended the watch. After any error
// there is nothing more.
func (s *Stream) Next() (Event, error) {
	kind, object, err := s.decoder.Decode()
	switch {
	case err == nil:
		return asEvent(kind, object)
	case s.body.err != nil && s.body.err != io.EOF:
		return Event{}, requestError(VerbWatch, s.body.err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Event{}, io.EOF
	}
	return Event{}, garbageError(VerbWatch, s.body.contentType)
}

func asEvent(kind watch.EventType, object runtime.Object) (Event, error) {
	switch o := object.(type) {
	case *metav1.Status:
		if kind == watch.Error {
			return Event{}, statusError(VerbWatch, *o)
		}
	case *Secret:
		if kind != watch.Error {
			o.strip()
			return Event{Type: kind, Secret: o}, nil
		}
	}
	err := garbageError(VerbWatch, "")
	err.Text = fmt.Sprintf("an event %.20q has a %T in it", kind, object)
	return Event{}, err
}

// Close ends the watch.
func (s *Stream) Close() { s.decoder.Close() }
