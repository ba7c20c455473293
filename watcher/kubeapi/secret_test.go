package kubeapi

import (
	"bytes"
	"maps"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// everything has all that an API server can put into a Secret.
func everything() corev1.Secret {
	immutable, second := true, metav1.Unix(1700000000, 0)
	return corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "db", GenerateName: "d", Namespace: "ns", UID: "1-2", ResourceVersion: "7", Generation: 3,
			CreationTimestamp: second, DeletionTimestamp: &second,
			Labels: map[string]string{"a": "b", "c": ""}, Annotations: map[string]string{"d": "e"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "3"}},
			Finalizers:      []string{"f"},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: metav1.NewFieldsV1(`{"f:data":{}}`)}},
		},
		Immutable:  &immutable,
		Data:       map[string][]byte{"password": []byte("p"), "binary": {0, 255, '\n'}, "empty": {}, "large": bytes.Repeat([]byte("x"), 1<<20)},
		StringData: map[string]string{"never": "sent"},
		Type:       corev1.SecretTypeTLS,
	}
}

// read reads, as a client of ours does, what is sent of theirs.
func read(t *testing.T, mediaType string, theirs runtime.Object, kind string, ours object) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	sent, _ := runtime.SerializerInfoForMediaType(serializer.NewCodecFactory(scheme).SupportedMediaTypes(), mediaType)
	text, err := runtime.Encode(sent.Serializer, theirs)
	if err != nil {
		t.Fatal(err)
	}
	answer := &http.Response{Header: http.Header{"Content-Type": {mediaType}}}
	if !decode(answer, text, kind, ours) {
		t.Fatalf("%s: the client does not read a %s", mediaType, kind)
	}
	for _, other := range []string{"Status", "Pod", ""} {
		if decode(answer, text, other, ours) {
			t.Errorf("%s: a %s is taken for a %q", mediaType, kind, other)
		}
	}
}

// TestSecretIsThatOfCoreV1 reads with the program's own types what
// k8s.io/api/core/v1 writes.
func TestSecretIsThatOfCoreV1(t *testing.T) {
	t.Parallel()
	bare := corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	list := corev1.SecretList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more"},
		Items:    []corev1.Secret{everything(), bare, everything()},
	}
	for _, mediaType := range []string{runtime.ContentTypeProtobuf, runtime.ContentTypeJSON} {
		for _, want := range []corev1.Secret{everything(), bare} {
			var got Secret
			read(t, mediaType, &want, "Secret", &got)
			sameSecret(t, mediaType, got, want)
		}
		var got SecretList
		read(t, mediaType, &list, "SecretList", &got)
		if got.ListMeta != list.ListMeta || len(got.Items) != len(list.Items) {
			t.Fatalf("%s: got %+v with %d items", mediaType, got.ListMeta, len(got.Items))
		}
		for i, want := range list.Items {
			sameSecret(t, mediaType, got.Items[i], want)
		}
	}
}

func sameSecret(t *testing.T, what string, got Secret, theirs corev1.Secret) {
	t.Helper()
	want := Metadata{theirs.Name, theirs.Namespace, string(theirs.UID), theirs.ResourceVersion, theirs.Labels}
	if !equality.Semantic.DeepEqual(got.Metadata, want) {
		t.Errorf("%s: got %+v, want %+v", what, got.Metadata, want)
	}
	same := func(ours secret.Value, theirs []byte) bool { return bytes.Equal(ours, theirs) }
	if !maps.EqualFunc(got.Data, theirs.Data, same) {
		t.Errorf("%s: got %d keys, want those of %d", what, len(got.Data), len(theirs.Data))
	}
}

// TestUnmarshalKeepsNothingOfTheMessage: it is a buffer that is used again.
func TestUnmarshalKeepsNothingOfTheMessage(t *testing.T) {
	want := everything()
	message, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var got Secret
	if err := got.Unmarshal(message); err != nil {
		t.Fatal(err)
	}
	clear(message)
	sameSecret(t, "after the message was overwritten", got, want)
}

// TestBrokenProtobuf: what is no Secret is an error, not a Secret with less in
// it.
func TestBrokenProtobuf(t *testing.T) {
	for name, message := range map[string]string{
		"a tag that does not end":     "\x80",
		"a length beyond the end":     "\x12\x05\x0a\x01a",
		"data that are a number":      "\x10\x01",
		"metadata that are a number":  "\x08\x01",
		"a key that is a number":      "\x12\x02\x08\x01",
		"a value that is a number":    "\x12\x05\x0a\x01a\x10\x01",
		"a value beyond its entry":    "\x12\x05\x0a\x01a\x12\x09bcdefghij",
		"metadata cut short":          "\x0a\x02\x0a\x05",
		"a group without an end":      "\x33",
		"a field of the number zero":  "\x02\x00",
		"a kind that does not exist":  "\x1f",
		"a number that does not end ": "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		var s Secret
		if err := s.Unmarshal([]byte(message)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, s)
		}
		var l SecretList
		item := append([]byte{0x12, byte(len(message))}, message...)
		if err := l.Unmarshal(item); err == nil {
			t.Errorf("in a list, %s: got %+v, want an error", name, l)
		}
	}
}

// FuzzProtobuf: whatever both take for a Secret is the same to both, and what
// core/v1 takes for one and is written as one can be read.
func FuzzProtobuf(f *testing.F) {
	all := everything()
	all.Data["large"] = []byte("less")
	message, err := all.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message)
	f.Add([]byte("\x12\x05\x0a\x01a\x12\x00\x12\x03\x0a\x01a\x98\x06\x01")) // a key twice, and a field of the future
	f.Add([]byte("\x12\x00\x12\x03\x12\x01v"))                              // entries without a key, and without a value
	f.Fuzz(func(t *testing.T, message []byte) {
		var ours Secret
		var theirs corev1.Secret
		failed := ours.Unmarshal(message)
		if theirs.Unmarshal(message) != nil {
			return
		}
		if failed == nil {
			sameSecret(t, "as it came", ours, theirs)
		}
		again, err := theirs.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ours = Secret{}
		if err := ours.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
		sameSecret(t, "written again", ours, theirs)
	})
}
