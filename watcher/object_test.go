package watcher

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
)

// everything returns a Secret in which every field is set.
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
		Immutable: &immutable,
		Data: map[string][]byte{
			"password": []byte("p"), "binary": {0, 255, '\n'}, "empty": {}, "large": bytes.Repeat([]byte("x"), 1<<20),
		},
		StringData: map[string]string{"never": "sent"},
		Type:       corev1.SecretTypeTLS,
	}
}

// TestObject_coreV1: object decodes every field in the encoding of k8s.io/api/core/v1.
func TestObject_coreV1(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	sent, _ := runtime.SerializerInfoForMediaType(serializer.NewCodecFactory(scheme).SupportedMediaTypes(),
		runtime.ContentTypeJSON)
	bare := corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	for _, want := range []corev1.Secret{everything(), bare} {
		text, err := runtime.Encode(sent.Serializer, &want)
		if err != nil {
			t.Fatal(err)
		}
		var got object
		if err := json.Unmarshal(text, &got); err != nil || !got.Is(kube.Secrets) || got.Is(kube.Pods) {
			t.Errorf("got %v and %+v, want a Secret", err, got.TypeMeta)
		}
		compareSecret(t, "read", got, want)
	}
}

func compareSecret(t *testing.T, what string, got object, theirs corev1.Secret) {
	t.Helper()
	want := metadata{theirs.Name, theirs.Namespace, string(theirs.UID), theirs.ResourceVersion, theirs.Labels}
	if !equality.Semantic.DeepEqual(got.metadata, want) {
		t.Errorf("%s: got %+v, want %+v", what, got.metadata, want)
	}
	same := func(ours secret.Value, theirs []byte) bool { return bytes.Equal(ours, theirs) }
	if !maps.EqualFunc(got.Data, theirs.Data, same) {
		t.Errorf("%s: got %d keys, want the same %d keys and values", what, len(got.Data), len(theirs.Data))
	}
}

// FuzzSecret: if both types decode a text, they contain the same. object decodes every
// text encoded by core/v1.
func FuzzSecret(f *testing.F) {
	all := everything()
	all.Data["large"] = []byte("less")
	message, err := json.Marshal(all)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message)
	// A duplicate key and an unknown field.
	f.Add([]byte(`{"data":{"a":"Yg==","a":"Yw==","b":null,"":""},"metadata":null,"later":1}`))
	f.Add([]byte(`{"data":{"a":1},"metadata":{"labels":[]}}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		var ours object
		var theirs corev1.Secret
		failed := json.Unmarshal(message, &ours)
		if json.Unmarshal(message, &theirs) != nil {
			return
		}
		if failed == nil {
			compareSecret(t, "original", ours, theirs)
		}
		again, err := json.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		ours = object{}
		if err := json.Unmarshal(again, &ours); err != nil {
			t.Fatal(err)
		}
		compareSecret(t, "encoded again", ours, theirs)
	})
}
