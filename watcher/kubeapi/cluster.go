package kubeapi

import (
	"errors"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ClusterConfig finds the cluster as kubectl does, in this order: the files
// that KUBECONFIG names, the Pod's own service account, ~/.kube/config. The
// first that is there is used, and an error in it is not passed over.
func ClusterConfig() (*rest.Config, error) {
	disableKlog()
	if path := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); path != "" {
		cfg, err := load(clientcmd.NewDefaultClientConfigLoadingRules())
		if err != nil {
			return nil, fmt.Errorf("find the cluster: KUBECONFIG=%q: %w", path, err)
		}
		return cfg, nil
	}
	cfg, err := rest.InClusterConfig()
	if err == nil {
		return cfg, nil
	}
	if !errors.Is(err, rest.ErrNotInCluster) {
		return nil, fmt.Errorf("find the cluster: this is a Pod, but the files of its service account cannot be read (is the token mounted in this container?): %w", err)
	}
	home := clientcmd.RecommendedHomeFile
	cfg, err = load(&clientcmd.ClientConfigLoadingRules{ExplicitPath: home})
	if err != nil {
		return nil, fmt.Errorf("find the cluster: KUBECONFIG is not set, this is no Pod (KUBERNETES_SERVICE_HOST is not set), and %s: %w", home, err)
	}
	return cfg, nil
}

func load(rules clientcmd.ClientConfigLoader) (*rest.Config, error) {
	merged, err := rules.Load()
	if err != nil {
		return nil, err
	}
	return clientcmd.NewDefaultClientConfig(*merged, &clientcmd.ConfigOverrides{}).ClientConfig()
}

// Namespace is the namespace that kubectl would use: that of the kubeconfig's context
// or of the Pod's service account, else "default".
func Namespace() string {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	name, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).Namespace()
	if err != nil {
		return metav1.NamespaceDefault // ClusterConfig reports it
	}
	return name
}
