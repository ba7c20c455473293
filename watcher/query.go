package watcher

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Time limits of a list. A connection that is dead is found by HTTP/2 pings
// before; these are for HTTP/1.1 and for a server that is stuck. Two steps
// earlier, dialing, is limited to 5 s. A watch has no limit before its first
// byte: some proxies hold its headers back until there is an event.
const (
	listTimeout         = 15 * time.Second
	selectorListTimeout = 30 * time.Second // it may be much longer than one Secret
)

// query is what one watch asks for: one name, or a selector.
type query struct {
	namespace string
	name      string // "": the selector
	labels    labels.Selector
	named     []string // by the selector: Secrets that have their own watch; sorted
}

func (q query) watch() string {
	if q.name == "" {
		return SelectorWatch
	}
	return WatchName(q.name)
}

// narrow puts what is asked for into a request's options.
func (q query) narrow(options metav1.ListOptions) metav1.ListOptions {
	if q.name != "" {
		options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, q.name).String()
	} else {
		options.LabelSelector = q.labels.String()
	}
	return options
}

// match is whether a Secret is one that was asked for.
func (q query) match(s *apiSecret) bool {
	if s.Namespace != q.namespace {
		return false
	}
	if q.name != "" {
		return s.Name == q.name
	}
	return s.Name != "" && q.labels.Matches(labels.Set(s.Labels))
}

// elsewhere is whether a selected Secret is left to its own watch.
func (q query) elsewhere(name string) bool {
	_, found := slices.BinarySearch(q.named, name)
	return found
}

func (q query) timeout() time.Duration {
	if q.name == "" {
		return selectorListTimeout
	}
	return listTimeout
}

// source is where lists and watches come from: a connection, or a test's.
// Their errors are faults.
type source interface {
	list(ctx context.Context, q query, o metav1.ListOptions) (*apiSecretList, error)
	// open opens a watch. ended tells, after the events ended, what broke it.
	open(ctx context.Context, q query, o metav1.ListOptions) (events watch.Interface, ended func() error, err error)
	renew()
}

func (c *connection) list(ctx context.Context, q query, o metav1.ListOptions) (*apiSecretList, error) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout())
	defer cancel()
	ctx, x := withExchange(ctx)
	o = q.narrow(o)
	result := c.client().Get().Namespace(q.namespace).Resource("secrets").
		VersionedParams(&o, metav1.ParameterCodec).MaxRetries(0).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, x.fault(verbList, err)
	}
	// Into a given type, "{}" would be decoded as an empty list, which says
	// that the Secret was deleted.
	object, err := result.Get()
	if err != nil {
		return nil, x.undecoded(verbList, err)
	}
	return asList(object, x)
}

// asList takes only what can be a consistent answer: a list with a version.
func asList(object runtime.Object, x *exchange) (*apiSecretList, error) {
	list, ok := object.(*apiSecretList)
	if !ok || list.ResourceVersion == "" {
		return nil, x.garbage(verbList)
	}
	return list, nil
}

func (c *connection) open(ctx context.Context, q query, o metav1.ListOptions) (watch.Interface, func() error, error) {
	ctx, x := withExchange(ctx)
	o = q.narrow(o)
	o.Watch = true
	events, err := c.client().Get().Namespace(q.namespace).Resource("secrets").
		VersionedParams(&o, metav1.ParameterCodec).MaxRetries(0).Watch(ctx)
	if err != nil {
		return nil, nil, x.undecoded(verbWatch, err)
	}
	ended := func() error {
		if _, _, err := x.seen(); err != nil {
			return x.fault(verbWatch, err)
		}
		return nil
	}
	if err := ended(); err != nil { // client-go gives an empty watch instead
		events.Stop()
		return nil, nil, err
	}
	return events, ended, nil
}
