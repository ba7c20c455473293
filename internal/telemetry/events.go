package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/brief"
)

const (
	eventQueue     = 32                     // Events in the queue; further Events are dropped
	eventBurst     = 10                     // Events at once, ...
	eventInterval  = 10 * time.Second       // ... and then an Event in each interval
	eventTimeout   = 10 * time.Second       // for a request
	eventLastCall  = 300 * time.Millisecond // for the queue when the process ends
	eventMessage   = 1024                   // bytes; the limit of events.k8s.io
	eventComponent = "secret-sync"
)

// A Creator creates an object in the API server: kube.Client.Create.
type Creator func(ctx context.Context, namespace, resource string, object []byte) error

// Pod is the object of the Events.
type Pod struct{ Namespace, Name, UID string }

// Events writes Events for the Pod. Its methods never wait for the API server. Events are
// dropped if they cannot be written soon, because the log and the metrics report the same
// facts. The methods of a nil *Events do nothing.
//
// Each change calls a method once. The recorder of client-go counts repeated Events, which
// requires the permission to patch Events, and it links the types of every API group.
type Events struct {
	pod   Pod
	post  Creator
	log   *slog.Logger
	limit *rate.Limiter
	queue chan event
}

// event is the JSON of a core/v1 Event. The type of k8s.io/api would link all types of its
// package.
type event map[string]any

// NewEvents returns Events. Run writes them.
func NewEvents(pod Pod, post Creator, log *slog.Logger) *Events {
	return &Events{
		pod:   pod,
		post:  post,
		log:   log,
		limit: rate.NewLimiter(rate.Every(eventInterval), eventBurst),
		queue: make(chan event, eventQueue),
	}
}

// Published reports a generation in which the given Secrets changed.
func (e *Events) Published(generation uint64, secrets []string) {
	names := strings.Join(brief.List(secrets), ", ")
	e.put("Normal", "SecretsPublished", fmt.Sprintf("published generation %d: %s", generation, names))
}

// Rejected reports the rejection of the current version of a Secret. The reason contains
// names but no values.
func (e *Events) Rejected(secret, reason string) {
	e.put("Warning", "SecretRefused", fmt.Sprintf("Secret %s is not published: %s", secret, reason))
}

// NotifyFailing reports a failure to notify a target. The error contains no values.
func (e *Events) NotifyFailing(target string, err error) {
	e.put("Warning", "NotifyFailing", fmt.Sprintf("notifying %s fails: %v", target, err))
}

// NotifyUnverified reports a signal with an uncertain effect: the app may not reload.
func (e *Events) NotifyUnverified(target, message string) {
	e.put("Warning", "NotifyUnverified", target+": "+message)
}

func (e *Events) put(kind, reason, message string) {
	if e == nil {
		return
	}
	now := metav1.Now()
	next := event{
		"apiVersion": "v1", "kind": "Event",
		"metadata": event{"namespace": e.pod.Namespace, "generateName": e.pod.Name + "."},
		"involvedObject": event{
			"apiVersion": "v1", "kind": "Pod", "namespace": e.pod.Namespace, "name": e.pod.Name, "uid": e.pod.UID,
		},
		"type": kind, "reason": reason, "message": truncate(message, eventMessage),
		"source": event{"component": eventComponent}, "reportingComponent": eventComponent,
		"firstTimestamp": now, "lastTimestamp": now, "count": 1,
	}
	select {
	case e.queue <- next:
	default:
		e.log.Debug("event dropped", "reason", reason)
	}
}

// truncate shortens a text to at most n bytes, between characters.
func truncate(text string, n int) string {
	if len(text) > n {
		text = text[:n-3] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// Run writes the Events until ctx ends and then returns nil. Before it returns, it writes the
// rest of the queue if it can do so quickly: an init container ends right after its only
// publish.
func (e *Events) Run(ctx context.Context) error {
	if e == nil {
		return nil
	}
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(eventLastCall, cancel) })()
	failure := "" // the logged failure
	for requests.Err() == nil {
		select {
		case next := <-e.queue:
			if e.limit.Wait(ctx) != nil && !e.limit.Allow() {
				return nil
			}
			failure = e.create(requests, next, failure)
		case <-ctx.Done():
			if len(e.queue) == 0 {
				return nil
			}
		}
	}
	return nil
}

// create sends an Event and returns the kind of the failure, "" for none. It logs a failure when
// it begins, when its kind changes and when it ends.
func (e *Events) create(ctx context.Context, next event, before string) string {
	request, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	object, err := json.Marshal(next)
	if err == nil {
		err = e.post(request, e.pod.Namespace, "events", object)
	}
	switch {
	case err == nil:
		if before != "" {
			e.log.Info("events are written again")
		}
		return ""
	case ctx.Err() != nil:
		return before // the process ends
	}
	kind := "unreachable"
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		kind = string(reason)
	}
	if kind != before {
		e.log.Warn("event not written", "reason", next["reason"], "err", err)
	}
	return kind
}
