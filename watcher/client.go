package watcher

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

const asProtobuf, asJSON = runtime.ContentTypeProtobuf, runtime.ContentTypeJSON

// Client creates objects of the core API.
type Client struct{ connection *connection }

// NewClient makes a Client. It throttles nothing. cfg is not modified.
func NewClient(cfg *rest.Config) (*Client, error) {
	c, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{c}, nil
}

// Create creates an object, given as JSON. After an error that says so, the next
// call reads the token and the certificates again.
func (c *Client) Create(ctx context.Context, namespace, resource string, object []byte) error {
	ctx, x := withExchange(ctx)
	err := c.connection.client().Post().Namespace(namespace).Resource(resource).
		SetHeader("Content-Type", asJSON).MaxRetries(0).Body(object).Do(ctx).Error()
	if err != nil && outdated(x.fault("create", err)) {
		c.connection.renew()
	}
	return err
}

// connection is a REST client with the TCP connections below it. It knows the
// types of Secrets only: the clientset has every API group in it, which doubles
// the binary and its memory.
type connection struct {
	config *rest.Config

	mu        sync.Mutex
	rest      *rest.RESTClient
	transport *transport
	read      [sha256.Size]byte // the credentials that the client was made from
}

// connect makes a client. No connection is opened before the first request.
func connect(in *rest.Config) (*connection, error) {
	if in == nil {
		return nil, fmt.Errorf("make a client: no configuration of the cluster")
	}
	silence()
	cfg := rest.CopyConfig(in)
	cfg.APIPath = "/api"
	cfg.GroupVersion = &coreV1
	cfg.NegotiatedSerializer = codecs()
	cfg.AcceptContentTypes = asProtobuf + "," + asJSON
	cfg.QPS = -1                  // a hundred watches start at once; the default is 5 a second
	cfg.Timeout = 0               // it would end watches, too
	cfg.DisableCompression = true // in the cluster's network it costs more than it saves
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.Wrap(record)
	c := &connection{config: cfg}
	return c, c.make()
}

// make makes the REST client anew, on connections of its own.
func (c *connection) make() error {
	read := credentials(c.config)
	t, err := newTransport(c.config)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", c.config.Host, err)
	}
	client, err := rest.RESTClientForConfigAndClient(c.config, &http.Client{Transport: t.wrapped})
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", c.config.Host, err)
	}
	c.rest, c.transport, c.read = client, t, read
	return nil
}

func (c *connection) client() *rest.RESTClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rest
}

// renew makes the client anew, if a file that it was made from changed: of the
// token, the certificate authority, or the client's own certificate. It is
// called after a 401 or a certificate that was not trusted; by itself client-go
// reads a token again after a minute. Watches on the old connections begin anew,
// too.
func (c *connection) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if credentials(c.config) == c.read {
		return
	}
	old := c.transport
	if c.make() == nil { // else the old one goes on; a file is being replaced, say
		old.close()
	}
}

// credentials is a hash of the files that a client is made from. What cannot be
// read is left to making the client to complain of.
func credentials(cfg *rest.Config) [sha256.Size]byte {
	var all []byte
	for _, path := range []string{cfg.CAFile, cfg.BearerTokenFile, cfg.CertFile, cfg.KeyFile} {
		content, _ := os.ReadFile(path)
		all = append(append(all, content...), 0)
	}
	return sha256.Sum256(all)
}

// close ends all connections.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.close()
}

// silence turns off the logs of client-go. They go past our logger, repeat each
// failed try, and some print whole objects: values of Secrets among them.
var silence = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })

// codecs reads protobuf and JSON. YAML is left out: what its parser cannot read
// it quotes in the error.
func codecs() runtime.NegotiatedSerializer {
	return withoutYAML{serializer.NewCodecFactory(newScheme()).WithoutConversion()}
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
