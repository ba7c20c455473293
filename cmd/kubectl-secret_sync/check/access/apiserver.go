package access

import (
	"context"
	"errors"
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

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// An APIServer answers the questions of a check with the objects of a cluster.
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
func (s *APIServer) Allowed(ctx context.Context, account Account, verb, resource, name string) (bool, error) {
	review := &authorizationv1.LocalSubjectAccessReview{
		ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: account.user(), Groups: account.groups(),
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: account.Namespace, Verb: verb, Version: "v1", Resource: resource, Name: name,
			},
		},
	}
	answer, err := s.reviews.LocalSubjectAccessReviews(account.Namespace).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

const rbacGroup = "rbac.authorization.k8s.io"

// resources contains the kinds that check reads.
var resources = map[string]schema.GroupVersionResource{
	"Namespace":      {Version: "v1", Resource: "namespaces"},
	"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"},
	"Role":           {Group: rbacGroup, Version: "v1", Resource: "roles"},
	"ClusterRole":    {Group: rbacGroup, Version: "v1", Resource: "clusterroles"},
}

var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// Object returns an object of a kind in resources, nil if it does not exist.
func (s *APIServer) Object(ctx context.Context, kind, namespace, name string) (*manifest.Object, error) {
	resource, known := resources[kind]
	if !known {
		return nil, fmt.Errorf("check does not read objects of the kind %s", kind)
	}
	o, err := s.objects.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &manifest.Object{Unstructured: o}, nil
}

// Bindings returns the RoleBindings of a namespace and the ClusterRoleBindings. With an error, it returns the bindings
// that the user may read.
func (s *APIServer) Bindings(ctx context.Context, namespace string) (all []*manifest.Object, err error) {
	for resource, namespace := range map[string]string{"rolebindings": namespace, "clusterrolebindings": ""} {
		id := schema.GroupVersionResource{Group: rbacGroup, Version: "v1", Resource: resource}
		list, errList := s.objects.Resource(id).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if errList != nil {
			err = errors.Join(err, errList)
			continue
		}
		for i := range list.Items {
			all = append(all, &manifest.Object{Unstructured: &list.Items[i]})
		}
	}
	return all, err
}

// SecretKeys reads the metadata of the Secret. Only if names is true, it reads the Secret and keeps the names of its
// keys.
func (s *APIServer) SecretKeys(ctx context.Context, namespace, secret string, names bool) ([]string, bool, error) {
	if !names {
		_, err := s.metadata.Resource(secrets).Namespace(namespace).Get(ctx, secret, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, false, nil
		}
		return nil, err == nil, err
	}
	o, err := s.objects.Resource(secrets).Namespace(namespace).Get(ctx, secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	data, _ := o.UnstructuredContent()["data"].(map[string]any)
	return slices.Sorted(maps.Keys(data)), true, nil
}
