package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// informerCommand makes this program run the informer, for comparison with secret-sync.
const informerCommand = "informer"

// runInformer is the textbook solution: a clientset, a shared informer on the Secrets of
// the namespace, and os.WriteFile. Readers of its volume can see half-written files, but
// most people write this program first.
func runInformer() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace := informers.WithNamespace(os.Getenv("POD_NAMESPACE"))
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, namespace)
	write := func(object any) {
		if s, ok := object.(*corev1.Secret); ok && s.Name == os.Getenv("SECRETSYNC_SECRETS") {
			writeFiles(filepath.Join(os.Getenv("SECRETSYNC_DIR"), s.Name), s.Data)
		}
	}
	_, err = factory.Core().V1().Secrets().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: write, UpdateFunc: func(_, now any) { write(now) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	return nil
}

func writeFiles(dir string, data map[string][]byte) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		exit(err)
	}
	for key, value := range data {
		if err := os.WriteFile(filepath.Join(dir, key), value, 0o644); err != nil {
			exit(err)
		}
	}
}
