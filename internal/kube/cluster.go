package kube

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
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	tried := fmt.Sprintf("KUBECONFIG=%q", os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	if os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		cfg, err := rest.InClusterConfig()
		switch {
		case err == nil:
			return cfg, nil
		case !errors.Is(err, rest.ErrNotInCluster):
			return nil, fmt.Errorf("find the cluster: this is a Pod, but the files of its service account cannot be read (is the token mounted in this container?): %w", err)
		}
		rules.ExplicitPath = clientcmd.RecommendedHomeFile
		tried = "KUBECONFIG is not set, this is no Pod (KUBERNETES_SERVICE_HOST is not set), and " + rules.ExplicitPath
	}
	merged, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %s: %w", tried, err)
	}
	cfg, err := clientcmd.NewDefaultClientConfig(*merged, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %s: %w", tried, err)
	}
	return cfg, nil
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
