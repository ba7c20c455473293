package watcher

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

const asProtobuf, asJSON = runtime.ContentTypeProtobuf, runtime.ContentTypeJSON

// Client makes a REST client of the core API that knows Secrets and Events
// only: the clientset has every API group in it, which doubles the binary and
// its memory. It throttles nothing. cfg is not modified.
func Client(cfg *rest.Config) (rest.Interface, error) {
	c, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	return c.client(), nil
}

// connection is a REST client with the TCP connections below it.
type connection struct {
	config *rest.Config

	mu     sync.Mutex
	rest   *rest.RESTClient
	dialer *dialer
	read   [sha256.Size]byte // the credentials that the client was made from
}

// connect makes a client. No connection is opened before the first request.
func connect(in *rest.Config) (*connection, error) {
	if in == nil {
		return nil, fmt.Errorf("make a client: no configuration of the cluster")
	}
	silence()
	cfg := rest.CopyConfig(in)
	cfg.APIPath = "/api"
	cfg.GroupVersion = &corev1.SchemeGroupVersion
	cfg.NegotiatedSerializer = codecs()
	cfg.AcceptContentTypes = asProtobuf + "," + asJSON
	cfg.ContentType = asProtobuf
	cfg.QPS = -1                  // a hundred watches start at once; the default is 5 a second
	cfg.Timeout = 0               // it would end watches, too
	cfg.DisableCompression = true // in the cluster's network it costs more than it saves
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.Wrap(wrapTransport)
	c := &connection{config: cfg}
	return c, c.make()
}

// make makes the REST client anew, on connections of its own.
func (c *connection) make() error {
	dialer := newDialer(c.config.Dial)
	cfg := rest.CopyConfig(c.config)
	cfg.Dial = dialer.dial
	read := credentials(cfg)
	defer pingOften()()
	client, err := rest.RESTClientFor(cfg)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", cfg.Host, err)
	}
	c.rest, c.dialer, c.read = client, dialer, read
	return nil
}

func (c *connection) client() *rest.RESTClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rest
}

// renew makes the client anew, if the file of the token or of the certificate
// authority changed. It is called after a 401 or a certificate that was not
// trusted: by itself client-go reads the one again after a minute, and the
// other after five. Watches on the old connections begin anew, too.
func (c *connection) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if credentials(c.config) == c.read {
		return
	}
	old, opened := c.rest, c.dialer
	if c.make() == nil { // else the old one goes on; a file is being replaced, say
		closeClient(old, opened)
	}
}

// credentials is a hash of the files that a client is made from. What cannot be
// read is left to making the client to complain of.
func credentials(cfg *rest.Config) [sha256.Size]byte {
	authority, _ := os.ReadFile(cfg.CAFile)
	token, _ := os.ReadFile(cfg.BearerTokenFile)
	return sha256.Sum256(slices.Concat(authority, []byte{0}, token))
}

// close ends all connections.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	closeClient(c.rest, c.dialer)
}

// closeClient lets idle connections end as the protocol wants, and breaks those
// that still carry something.
func closeClient(client *rest.RESTClient, dialer *dialer) {
	if client.Client != nil {
		utilnet.CloseIdleConnectionsFor(client.Client.Transport)
	}
	dialer.close()
}

// pingOften makes a client that is made before the returned function is called
// find a dead HTTP/2 connection in 15 s instead of 45 s: it pings after 10 s of
// silence, and waits for 5 s. The environment is the only way to tell
// client-go; it is put back, as children inherit it. What the user has set
// there stays.
func pingOften() func() {
	environment.Lock()
	var ours []string
	for name, seconds := range map[string]string{
		"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "10",
		"HTTP2_PING_TIMEOUT_SECONDS":      "5",
	} {
		if _, set := os.LookupEnv(name); !set && os.Setenv(name, seconds) == nil {
			ours = append(ours, name)
		}
	}
	return func() {
		for _, name := range ours {
			_ = os.Unsetenv(name)
		}
		environment.Unlock()
	}
}

var environment sync.Mutex

// silence turns off the logs of client-go. They go past our logger, repeat each
// failed try, and some print whole objects: values of Secrets among them.
var silence = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })

// codecs knows the types that are used, and JSON and protobuf. YAML is left
// out: what its parser cannot read it quotes in the error.
func codecs() runtime.NegotiatedSerializer {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.Secret{}, &corev1.SecretList{}, &corev1.Event{})
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	return withoutYAML{serializer.NewCodecFactory(scheme).WithoutConversion()}
}

type withoutYAML struct{ runtime.NegotiatedSerializer }

func (n withoutYAML) SupportedMediaTypes() []runtime.SerializerInfo {
	var kept []runtime.SerializerInfo
	for _, info := range n.NegotiatedSerializer.SupportedMediaTypes() {
		if info.MediaType == asProtobuf || info.MediaType == asJSON {
			kept = append(kept, info)
		}
	}
	return kept
}
