package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// A Cluster gives an administrator access to a cluster: to a ControlPlane or any other.
type Cluster struct {
	Config     *rest.Config
	Client     kubernetes.Interface
	kubeconfig string
	dir        string // for the kubeconfigs of service accounts
}

// OpenCluster connects to the cluster of a kubeconfig file. It writes kubeconfigs of
// service accounts into dir.
func OpenCluster(kubeconfig, dir string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %q: %w", kubeconfig, err)
	}
	return newCluster(config, kubeconfig, dir)
}

func newCluster(config *rest.Config, kubeconfig, dir string) (*Cluster, error) {
	config.QPS = -1 // no throttling by the client
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Cluster{Config: config, Client: client, kubeconfig: kubeconfig, dir: dir}, nil
}

// newAdminCluster writes the administrator's kubeconfig and connects with it.
func newAdminCluster(dir, pki string, port int) (*Cluster, error) {
	var user api.AuthInfo
	var err error
	if user.ClientCertificateData, err = os.ReadFile(filepath.Join(pki, "admin.crt")); err != nil {
		return nil, err
	}
	if user.ClientKeyData, err = os.ReadFile(filepath.Join(pki, "admin.key")); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "admin.kubeconfig")
	server := &api.Cluster{Server: fmt.Sprintf("https://127.0.0.1:%d", port), CertificateAuthorityData: ca}
	if err := writeKubeconfig(path, server, &user, "default"); err != nil {
		return nil, err
	}
	return OpenCluster(path, dir)
}

func writeKubeconfig(path string, server *api.Cluster, user *api.AuthInfo, namespace string) error {
	c := api.NewConfig()
	c.Clusters["c"] = server
	c.AuthInfos["u"] = user
	c.Contexts["c"] = &api.Context{Cluster: "c", AuthInfo: "u", Namespace: namespace}
	c.CurrentContext = "c"
	return clientcmd.WriteToFile(*c, path)
}

// Kubeconfig returns the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// TokenKubeconfig creates the service account if it is missing, and returns the path of
// a kubeconfig for it. As in a Pod, the token is in a separate file (the same path with
// ".token"), so a test can replace it while a client runs. The token is valid for a day
// if the cluster allows that.
func (c *Cluster) TokenKubeconfig(ctx context.Context, namespace, account string) (string, error) {
	accounts := c.Client.CoreV1().ServiceAccounts(namespace)
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}
	if _, err := accounts.Create(ctx, sa, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create service account %s/%s: %w", namespace, account, err)
	}
	seconds := int64((24 * time.Hour).Seconds())
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	req, err := accounts.CreateToken(ctx, account, req, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request a token for %s/%s: %w", namespace, account, err)
	}
	path := filepath.Join(c.dir, namespace+"."+account+".kubeconfig")
	if err := os.WriteFile(path+".token", []byte(req.Status.Token), 0o600); err != nil {
		return "", err
	}
	config := rest.CopyConfig(c.Config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return "", err
	}
	server := &api.Cluster{
		Server: config.Host, CertificateAuthorityData: config.CAData,
		InsecureSkipTLSVerify: config.Insecure, TLSServerName: config.ServerName,
	}
	return path, writeKubeconfig(path, server, &api.AuthInfo{TokenFile: path + ".token"}, namespace)
}
