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
)

const (
	eventQueue     = 32                     // what is queued; more is dropped
	eventBurst     = 10                     // Events at once …
	eventInterval  = 10 * time.Second       // … and then one in this time
	eventTimeout   = 10 * time.Second       // for one request
	eventLastCall  = 300 * time.Millisecond // for what is queued at the end
	eventMessage   = 1024                   // bytes; the limit of events.k8s.io
	eventComponent = "secret-sync"
)

// Creator creates an object in the API server: kube.Client.Create.
type Creator func(ctx context.Context, namespace, resource string, object []byte) error

// Pod is the object that Events are about.
type Pod struct{ Namespace, Name, UID string }

// Events writes Events on the Pod. Its methods never wait for the API server:
// what cannot be written soon is dropped, since the log and the metrics have it
// too. On a nil *Events they do nothing.
//
// They are called once per change. client-go's recorder, which counts a repeated
// Event up, needs the right to patch Events for that, and links the types of every
// API group.
type Events struct {
	pod   Pod
	post  Creator
	log   *slog.Logger
	limit *rate.Limiter
	queue chan event
}

// event is the JSON of a core/v1 Event. The type of k8s.io/api would bring all others
// of its package into the binary.
type event map[string]any

// NewEvents gives Events that begin to be written with Run.
func NewEvents(pod Pod, post Creator, log *slog.Logger) *Events {
	return &Events{
		pod:   pod,
		post:  post,
		log:   log,
		limit: rate.NewLimiter(rate.Every(eventInterval), eventBurst),
		queue: make(chan event, eventQueue),
	}
}

// Published says that a generation with changes of these Secrets is in the
// volume.
func (e *Events) Published(generation uint64, secrets []string) {
	e.put("Normal", "SecretsPublished", fmt.Sprintf("published generation %d: %s", generation, strings.Join(secrets, ", ")))
}

// Rejected says that the newest state of a Secret is not published, and why:
// the reason has names, never values.
func (e *Events) Rejected(secret, reason string) {
	e.put("Warning", "SecretRefused", fmt.Sprintf("Secret %s is not published: %s", secret, reason))
}

// NotifyFailing says that the app could not be notified, and why: the error has no
// values.
func (e *Events) NotifyFailing(target string, err error) {
	e.put("Warning", "NotifyFailing", fmt.Sprintf("notifying by %s fails: %v", target, err))
}

// NotifyUnverified reports that a signal may not make the app reload.
func (e *Events) NotifyUnverified(target, message string) {
	e.put("Warning", "NotifyUnverified", target+": "+message)
}

func (e *Events) put(kind, reason, message string) {
	if e == nil {
		return
	}
	now := metav1.Now()
	one := event{
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
	case e.queue <- one:
	default:
		e.log.Debug("event dropped", "reason", reason)
	}
}

// truncate cuts a text to at most n bytes, between characters.
func truncate(text string, n int) string {
	if len(text) > n {
		text = text[:n-3] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// Run writes the Events until the context ends. What is queued then is still
// written, if that takes no time: an init container ends right after its only
// publish. It returns nil.
func (e *Events) Run(ctx context.Context) error {
	if e == nil {
		return nil
	}
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(eventLastCall, cancel) })()
	failing := "" // why creating fails; empty while it does not
	for requests.Err() == nil {
		select {
		case next := <-e.queue:
			if e.limit.Wait(ctx) != nil && !e.limit.Allow() {
				return nil
			}
			failing = e.create(requests, next, failing)
		case <-ctx.Done():
			if len(e.queue) == 0 {
				return nil
			}
		}
	}
	return nil
}

// create logs a failure when it begins and when its kind changes, and gives the
// kind.
func (e *Events) create(ctx context.Context, one event, before string) string {
	request, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	object, err := json.Marshal(one)
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
		return before // the end, no failure
	}
	kind := "unreachable"
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		kind = string(reason)
	}
	if kind != before {
		e.log.Warn("event not written", "reason", one["reason"], "err", err)
	}
	return kind
}
