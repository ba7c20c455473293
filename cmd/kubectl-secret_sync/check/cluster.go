package check

import (
	"context"
	"fmt"
	"maps"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// An APIServer is a Cluster.
type APIServer struct {
	reviews  authorizationclient.LocalSubjectAccessReviewsGetter
	objects  dynamic.Interface
	metadata metadata.Interface
}

// NewAPIServer returns the cluster of a client configuration.
func NewAPIServer(config *rest.Config) (*APIServer, error) {
	reviews, err := authorizationclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	metadata, err := metadata.NewForConfig(config)
	return &APIServer{reviews, objects, metadata}, err
}

// Allowed creates a LocalSubjectAccessReview, which the administrator of a namespace may
// create. A SelfSubjectAccessReview would answer for the user of the plugin.
func (a *APIServer) Allowed(ctx context.Context, namespace, account, verb, resource, name string) (bool, error) {
	review := &authorizationv1.LocalSubjectAccessReview{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   "system:serviceaccount:" + namespace + ":" + account,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: verb, Version: "v1", Resource: resource, Name: name,
			},
		},
	}
	answer, err := a.reviews.LocalSubjectAccessReviews(namespace).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

var resources = map[string]schema.GroupVersionResource{
	"Namespace":      {Version: "v1", Resource: "namespaces"},
	"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"},
	"Secret":         {Version: "v1", Resource: "secrets"},
}

// Object returns a Namespace or a ServiceAccount.
func (a *APIServer) Object(ctx context.Context, kind, namespace, name string) (*Object, error) {
	resource, known := resources[kind]
	if !known || kind == "Secret" {
		return nil, fmt.Errorf("check does not read objects of the kind %s", kind)
	}
	o, err := a.objects.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Object{Unstructured: o}, nil
}

// SecretKeys reads the metadata of the Secret. Only if names is true, it reads the Secret and
// keeps the names of its keys.
func (a *APIServer) SecretKeys(ctx context.Context, namespace, secret string, names bool) ([]string, bool, error) {
	if !names {
		_, err := a.metadata.Resource(resources["Secret"]).Namespace(namespace).Get(ctx, secret, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, false, nil
		}
		return nil, err == nil, err
	}
	o, err := a.objects.Resource(resources["Secret"]).Namespace(namespace).Get(ctx, secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	data, _ := o.UnstructuredContent()["data"].(map[string]any)
	return slices.Sorted(maps.Keys(data)), true, nil
}
