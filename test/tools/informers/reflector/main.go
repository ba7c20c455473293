// Command reflector follows a Secret with client-go's Reflector on a RESTClient whose
// scheme contains only core/v1. Package informers measures it.
package main

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		panic(err)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		panic(err)
	}
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		panic(err)
	}
	byName := fields.OneTermEqualSelector("metadata.name", "db")
	secrets := cache.NewListWatchFromClient(client, "secrets", os.Getenv("POD_NAMESPACE"), byName)
	report := func(any) { fmt.Println("synced") }
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: secrets, ObjectType: &corev1.Secret{}, Handler: cache.ResourceEventHandlerFuncs{AddFunc: report},
	})
	controller.Run(make(chan struct{}))
}
