package kube

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// serviceAccountCA is the file with the CA of the API server in a Pod.
const serviceAccountCA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"

// ClusterConfig locates the cluster as kubectl does: the files in KUBECONFIG, then the service account of the Pod, then
// ~/.kube/config. It uses the first source that exists and reports its errors.
func ClusterConfig() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	files := os.Getenv(clientcmd.RecommendedConfigPathEnvVar)
	source := fmt.Sprintf("KUBECONFIG=%q", files)
	if files == "" {
		cfg, err := rest.InClusterConfig()
		if err == nil {
			cfg.CAFile = serviceAccountCA // InClusterConfig omits an empty file, which would never be read again
			return cfg, nil
		}
		if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, fmt.Errorf("find the cluster: the token of the service account cannot be read; "+
				"mount it in this container: %w", err)
		}
		rules.ExplicitPath = clientcmd.RecommendedHomeFile
		source = "KUBECONFIG is not set; not running in a Pod: KUBERNETES_SERVICE_HOST is not set; " +
			rules.ExplicitPath
	}
	var cfg *rest.Config
	merged, err := rules.Load()
	if err == nil {
		cfg, err = clientcmd.NewDefaultClientConfig(*merged, nil).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %s: %w", source, err)
	}
	return cfg, nil
}

// Namespace returns POD_NAMESPACE, else the same namespace as kubectl: the namespace of the kubeconfig's context or of
// the Pod's service account, else "default". ClusterConfig reports an invalid kubeconfig.
func Namespace() string {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	name, _, _ := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).Namespace()
	return cmp.Or(os.Getenv("POD_NAMESPACE"), name, metav1.NamespaceDefault)
}
