package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Decode returns the objects of a YAML manifest.
func Decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		var o unstructured.Unstructured
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
		if len(o.Object) > 0 { // a document may contain only a comment
			objects = append(objects, &o)
		}
	}
}

// Apply does the same as `kubectl apply --server-side -n NAMESPACE -f MANIFEST`. With
// dryRun, the server checks the objects, including admission, and stores nothing. An
// unknown field is an error. Warnings go to the config's handler.
func Apply(ctx context.Context, config *rest.Config, namespace string, manifest []byte, dryRun bool) error {
	objects, err := Decode(manifest)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	options := metav1.PatchOptions{
		FieldManager: "secret-sync-examples", FieldValidation: metav1.FieldValidationStrict, Force: new(true),
	}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	for _, o := range objects {
		if o.GetNamespace() == "" {
			o.SetNamespace(namespace)
		}
		kind := o.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return fmt.Errorf("apply %s %q: %w", kind.Kind, o.GetName(), err)
		}
		resource := client.Resource(mapping.Resource).Namespace(o.GetNamespace())
		if err := applyObject(ctx, resource, o, options); err != nil {
			return fmt.Errorf("apply %s %q: %w", kind.Kind, o.GetName(), err)
		}
	}
	return nil
}

// applyObject sends a server-side apply as a patch, because the Apply method of the
// dynamic client does not support field validation.
func applyObject(
	ctx context.Context, client dynamic.ResourceInterface, o *unstructured.Unstructured, options metav1.PatchOptions,
) error {
	body, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = client.Patch(ctx, o.GetName(), types.ApplyPatchType, body, options)
	return err
}
