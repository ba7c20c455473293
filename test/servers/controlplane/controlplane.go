package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// Options configures a control plane. The zero value is valid.
type Options struct {
	Progress      io.Writer // receives lines about slow steps; nil discards them
	APIServerArgs []string  // additional flags of kube-apiserver
	Version       string    // of kube-apiserver, see Build
}

// A ControlPlane is a running etcd and a running kube-apiserver.
type ControlPlane struct {
	*Cluster
	dir  string
	etcd *server
	api  *server
}

// Start builds the servers if necessary and starts them. It returns when the API server
// is ready. This takes a few seconds, or minutes the first time on a machine. ctx limits
// only the start; Close stops the control plane.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	bin, err := Build(ctx, o.Version, o.Progress)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		cp, err := start(ctx, bin, o)
		// Another process may take a port between freePorts and its use.
		if err == nil || attempt == 3 || !strings.Contains(err.Error(), "address already in use") {
			return cp, err
		}
	}
}

func start(ctx context.Context, bin Servers, o Options) (*ControlPlane, error) {
	dir, err := os.MkdirTemp("", "secret-sync-controlplane-")
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{dir: dir}
	if err := cp.start(ctx, bin, o); err != nil {
		cp.Close()
		return nil, fmt.Errorf("start the control plane: %w", err)
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context, bin Servers, o Options) error {
	pki := filepath.Join(cp.dir, "pki")
	if err := newPKI(pki); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	cp.etcd = &server{
		path: bin.etcd,
		args: etcdArgs(cp.dir, pki, ports[0], ports[1]),
		log:  filepath.Join(cp.dir, "etcd.log"),
	}
	cp.api = &server{
		path: bin.apiServer,
		args: append(apiServerArgs(pki, ports[0], ports[2]), o.APIServerArgs...),
		log:  filepath.Join(cp.dir, "kube-apiserver.log"),
	}
	if cp.Cluster, err = newAdminCluster(cp.dir, pki, ports[2]); err != nil {
		return err
	}
	if err := cp.etcd.start(); err != nil {
		return err
	}
	return cp.StartAPIServer(ctx)
}

func etcdArgs(dir, pki string, client, peer int) []string {
	clientURL, peerURL := fmt.Sprintf("https://127.0.0.1:%d", client), fmt.Sprintf("https://127.0.0.1:%d", peer)
	return []string{
		"--data-dir=" + filepath.Join(dir, "etcd"),
		"--listen-client-urls=" + clientURL, "--advertise-client-urls=" + clientURL,
		"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=default=" + peerURL,
		"--client-cert-auth", "--trusted-ca-file=" + pki + "/ca.crt",
		"--cert-file=" + pki + "/server.crt", "--key-file=" + pki + "/server.key",
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + pki + "/ca.crt",
		"--peer-cert-file=" + pki + "/server.crt", "--peer-key-file=" + pki + "/server.key",
		"--unsafe-no-fsync", // the data must survive a crash of the process, not of the machine
	}
}

func apiServerArgs(pki string, etcd, port int) []string {
	return []string{
		fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", etcd),
		"--etcd-cafile=" + pki + "/ca.crt", "--etcd-certfile=" + pki + "/server.crt",
		"--etcd-keyfile=" + pki + "/server.key",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + pki + "/server.crt", "--tls-private-key-file=" + pki + "/server.key",
		"--client-ca-file=" + pki + "/ca.crt",
		"--service-account-key-file=" + pki + "/sa.key", "--service-account-signing-key-file=" + pki + "/sa.key",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
	}
}

// Dir returns the directory of the data, the certificates and the logs.
func (cp *ControlPlane) Dir() string { return cp.dir }

// Close kills both servers, waits for their end and removes their data.
func (cp *ControlPlane) Close() error {
	for _, s := range []*server{cp.api, cp.etcd} {
		if s != nil {
			s.stop()
		}
	}
	return os.RemoveAll(cp.dir)
}

// StopAPIServer kills the API server. Connections are reset, and new connections refused.
func (cp *ControlPlane) StopAPIServer() { cp.api.stop() }

// StartAPIServer starts the API server at its old address and waits until it is ready.
func (cp *ControlPlane) StartAPIServer(ctx context.Context) error {
	if err := cp.api.start(); err != nil {
		return err
	}
	return cp.waitReady(ctx)
}

// SignalAPIServer sends a signal to the API server. After SIGSTOP the server accepts
// connections without answering, until SIGCONT.
func (cp *ControlPlane) SignalAPIServer(sig syscall.Signal) error { return cp.api.signal(sig) }

// waitReady polls /readyz until it succeeds.
func (cp *ControlPlane) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("not ready within 2 minutes"))
	defer cancel()
	client, err := rest.HTTPClientFor(cp.Config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for last := error(nil); ; {
		if last = ask(ctx, client, cp.Config.Host+"/readyz"); last == nil {
			return nil
		}
		if err := errors.Join(cp.etcd.ended(), cp.api.ended()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w (last: %w)", context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
