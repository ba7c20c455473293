package rollout

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/status"
)

const (
	askTimeout  = 5 * time.Second  // for the answer of a sidecar
	readTimeout = 30 * time.Second // for the answer of the API server
)

// A secretObject is a Secret of the API, with only the fields that a wait uses.
type secretObject struct {
	kube.TypeMeta
	Metadata struct {
		UID, ResourceVersion string
		ManagedFields        []struct{ Time time.Time }
	}
	Data map[string]secret.Value
}

// readSecret performs a quorum read of the Secret. Of its data it keeps a fingerprint.
func (o *Options) readSecret(ctx context.Context, namespace string) (r reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	body, err := o.API.Get(ctx, kube.JSON, kube.Secrets.Path(namespace, o.Secret))
	if err != nil {
		return r, err
	}
	var object secretObject
	if json.Unmarshal(body, &object) != nil || !object.Is("Secret") || object.Metadata.ResourceVersion == "" {
		return r, fmt.Errorf("read Secret %s/%s: the answer does not come from a Kubernetes API server", namespace, o.Secret)
	}
	r = reading{uid: object.Metadata.UID, version: object.Metadata.ResourceVersion, data: fingerprintOf(object.Data)}
	for _, field := range object.Metadata.ManagedFields {
		if field.Time.After(r.changed) {
			r.changed = field.Time
		}
	}
	return r, nil
}

// fingerprintKey makes the fingerprints of this process useless to everybody else.
var fingerprintKey = rand.Text()

func fingerprintOf(data map[string]secret.Value) (f fingerprint) {
	hash := hmac.New(sha256.New, []byte(fingerprintKey))
	add := func(part []byte) {
		_ = binary.Write(hash, binary.BigEndian, uint64(len(part)))
		_, _ = hash.Write(part)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		add([]byte(key))
		add(data[key])
	}
	copy(f[:], hash.Sum(nil))
	return f
}

// listPods returns a consistent list of the Pods, and its version.
func (o *Options) listPods(ctx context.Context, namespace string) (pods []pod, version string, err error) {
	for page, err := range kube.Pages[podObject](ctx, o.API, o.podQuery(namespace)) {
		if err != nil {
			return nil, "", err
		}
		for _, object := range page.Items {
			pods = append(pods, object.reduce(namespace, o.Secret))
		}
		version = page.ResourceVersion
	}
	return pods, version, nil
}

func (o *Options) podQuery(namespace string) kube.Query {
	return kube.Query{Resource: kube.Pods, Namespace: namespace, Selector: o.Selector}
}

// watchPods calls put and remove for each change of a Pod after version, until the watch
// ends. It returns nil if the server ended it.
func (o *Options) watchPods(ctx context.Context, namespace, version string, put func(pod), remove func(uid string)) error {
	events, err := kube.Watch[podObject](ctx, o.API, o.podQuery(namespace), version)
	if err != nil {
		return err
	}
	for event, err := range events {
		switch {
		case err != nil:
			return err
		case event.Type == watch.Deleted:
			remove(event.Object.Metadata.UID)
		case event.Type != watch.Bookmark:
			put(event.Object.reduce(namespace, o.Secret))
		}
	}
	return nil
}

// ask queries a sidecar.
func (o *Options) ask(ctx context.Context, q query) (d *status.Document, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body []byte
	port := strconv.Itoa(q.port)
	switch {
	case !o.Direct:
		body, err = o.API.Get(ctx, kube.JSON, kube.Pods.Path(q.namespace, q.name+":"+port, "proxy/status"))
	case q.address == "":
		err = errors.New("the Pod has no address")
	default:
		body, err = status.Fetch(ctx, net.JoinHostPort(q.address, port))
	}
	if err == nil {
		d, err = status.Parse(body)
	}
	if err != nil {
		return nil, fmt.Errorf("its sidecar does not answer (container %s, port %s): %w", q.container, port, err)
	}
	return d, nil
}
