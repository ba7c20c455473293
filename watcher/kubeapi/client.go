// Package kubeapi asks a Kubernetes API server for Secrets, and creates objects
// there, with the REST client of client-go.
//
// What it promises: a list is a consistent read. A dead connection is noticed
// within 20 seconds, and Close breaks every connection. Every error of a list or
// a watch is an *Error: it tells what is wrong and what to do, and quotes nothing
// from a body that could not be decoded, because that may hold a Secret.
//
// It makes one attempt per call. It must not know what is done with the Secrets,
// when to try again, or what is logged.
package kubeapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Time limits of a list. HTTP/2 pings find a dead connection earlier; these are
// for HTTP/1.1 and for a server that is stuck. The opening of a watch has no
// limit: some proxies hold its headers back until there is an event.
const (
	listTimeout         = 15 * time.Second
	selectorListTimeout = 30 * time.Second // the list may be much longer than one Secret
)

// minWatchTime is how long a watch is asked for, and up to twice that. The API
// server checks permissions only when a watch opens.
const minWatchTime = 5 * time.Minute

// Client makes requests for the core API. It throttles nothing: a hundred
// watches start at once, and the default is five requests a second.
type Client struct {
	config *rest.Config

	mu          sync.Mutex
	rest        *rest.RESTClient
	transport   *transport
	credentials [sha256.Size]byte // what the files held when the client was made
}

// NewClient makes a Client. It modifies no cfg and opens no connection.
func NewClient(cfg *rest.Config) (*Client, error) {
	if cfg == nil {
		return nil, errors.New("make a client: no configuration of the cluster")
	}
	disableKlog()
	cfg = rest.CopyConfig(cfg)
	cfg.APIPath = "/api"
	cfg.GroupVersion = &coreV1
	cfg.NegotiatedSerializer = codecs.WithoutConversion()
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	cfg.QPS = -1
	cfg.Timeout = 0               // it would end watches, too
	cfg.DisableCompression = true // in the cluster's network it costs more than it saves
	cfg.WarningHandler = rest.NoWarnings{}
	c := &Client{config: cfg}
	return c, c.connect()
}

// connect makes the REST client, on connections of its own.
func (c *Client) connect() error {
	credentials := hashCredentials(c.config)
	t, err := newTransport(c.config)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", c.config.Host, err)
	}
	client, err := rest.RESTClientForConfigAndClient(c.config, &http.Client{Transport: t})
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", c.config.Host, err)
	}
	c.rest, c.transport, c.credentials = client, t, credentials
	return nil
}

func (c *Client) current() *rest.RESTClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rest
}

// Renew reads the files of the token and the certificates again. If one of them
// changed, new requests use it, and requests under way are broken. To be called
// after an Error that Outdated reports: client-go itself reads a token again
// after a minute, a CA after five, and neither after a 401.
func (c *Client) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if hashCredentials(c.config) == c.credentials {
		return
	}
	old := c.transport
	if c.connect() == nil { // else the old client goes on: a file may be half replaced
		old.close()
	}
}

// hashCredentials hashes the files that a client is made from. A file that
// cannot be read is reported when the client is made.
func hashCredentials(cfg *rest.Config) [sha256.Size]byte {
	var all []byte
	for _, path := range []string{cfg.CAFile, cfg.BearerTokenFile, cfg.CertFile, cfg.KeyFile} {
		content, _ := os.ReadFile(path)
		all = append(append(all, content...), 0)
	}
	return sha256.Sum256(all)
}

// Close breaks all connections. Requests fail from then on.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.close()
}

// Query tells which Secrets of a namespace are asked for.
type Query struct {
	Namespace string
	Name      string // "": those that match Selector
	Selector  string
}

// List makes a consistent read of the Secrets.
func (c *Client) List(ctx context.Context, q Query) (*SecretList, error) {
	timeout := listTimeout
	if q.Name == "" {
		timeout = selectorListTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// No resourceVersion: a quorum read. With "0" any API server may answer from
	// a cache of any age. No limit: a second page could expire.
	answer, codec, err := c.get(ctx, VerbList, q, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Close() }()
	body, err := io.ReadAll(answer)
	if err != nil {
		return nil, requestError(VerbList, err)
	}
	// The object names its own kind. Decoded into a given type, "{}" would be an
	// empty list, which says that the Secret was deleted.
	object, err := runtime.Decode(codec.Serializer, body)
	list, ok := object.(*SecretList)
	if err != nil || !ok || list.ResourceVersion == "" {
		return nil, garbageError(VerbList, answer.contentType)
	}
	for i := range list.Items {
		list.Items[i].strip()
	}
	return list, nil
}

// Watch opens a watch of what changed since a resourceVersion. The watch ends
// with ctx, which must be done in the end.
func (c *Client) Watch(ctx context.Context, q Query, resourceVersion string) (*Stream, error) {
	seconds := int64(minWatchTime.Seconds() * (1 + rand.Float64()))
	answer, codec, err := c.get(ctx, VerbWatch, q, metav1.ListOptions{
		Watch: true, ResourceVersion: resourceVersion, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return nil, err
	}
	return newStream(answer, codec), nil
}

// get sends a request. The body of a good answer comes with its codec.
func (c *Client) get(ctx context.Context, verb string, q Query, o metav1.ListOptions) (*body, runtime.SerializerInfo, error) {
	o.LabelSelector = q.Selector
	if q.Name != "" {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, q.Name).String()
	}
	stream, err := c.current().Get().Namespace(q.Namespace).Resource("secrets").
		VersionedParams(&o, metav1.ParameterCodec).MaxRetries(0).Stream(ctx)
	if err != nil {
		return nil, runtime.SerializerInfo{}, requestError(verb, err)
	}
	answer := stream.(*body) // of our transport
	codec, ok := codecFor(answer.contentType)
	if !ok {
		_ = answer.Close()
		return nil, codec, garbageError(verb, answer.contentType)
	}
	return answer, codec, nil
}

// Create creates an object, given as JSON. When the server does not accept the
// credentials, the next call reads them again.
func (c *Client) Create(ctx context.Context, namespace, resource string, object []byte) error {
	err := c.current().Post().Namespace(namespace).Resource(resource).
		SetHeader("Content-Type", runtime.ContentTypeJSON).MaxRetries(0).Body(object).Do(ctx).Error()
	if err != nil && requestError("create", err).Outdated() {
		c.Renew()
	}
	return withoutBody(err)
}

// disableKlog turns off the logs of client-go. They bypass the program's logger,
// repeat each failed attempt, and some print whole objects: values of Secrets
// among them.
var disableKlog = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })
