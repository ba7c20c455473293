package telemetry

import (
	"cmp"
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
	eventQueue    = 32 // Events in the queue; further Events are dropped
	eventBurst    = 10 // Events at once, and then an Event in each eventInterval
	eventInterval = 10 * time.Second
	eventTimeout  = 10 * time.Second       // for a request
	eventLastCall = 300 * time.Millisecond // for the queue when the process ends
	eventMessage  = 1024                   // bytes; the limit of events.k8s.io
)

// Pod is the object of the Events.
type Pod struct{ Namespace, Name, UID string }

// Events writes Events for the Pod. Its methods never wait for the API server: Events are
// dropped if they cannot be written soon. The methods of a nil *Events do nothing. The recorder
// of client-go requires the permission to patch Events, and it links the types of every group.
type Events struct {
	pod   Pod
	post  func(ctx context.Context, namespace string, object []byte) error
	log   *slog.Logger
	queue chan event
}

type event map[string]any // the JSON of a core/v1 Event

// NewEvents returns Events. Run writes them with post, which is kube.Client.CreateEvent.
func NewEvents(pod Pod, post func(context.Context, string, []byte) error, log *slog.Logger) *Events {
	return &Events{pod: pod, post: post, log: log, queue: make(chan event, eventQueue)}
}

// Published reports a generation in which the given Secrets changed.
func (e *Events) Published(generation uint64, secrets []string) {
	e.enqueue("Normal", "SecretsPublished", "published generation %d: %s", generation,
		strings.Join(brief.List(secrets), ", "))
}

// Rejected reports that the current version of a Secret is rejected, without values.
func (e *Events) Rejected(secret, reason string) {
	e.enqueue("Warning", "SecretRefused", "Secret %s is not published: %s", secret, reason)
}

// NotifyFailing reports a failure to notify a target. The error contains no values.
func (e *Events) NotifyFailing(target string, err error) {
	e.enqueue("Warning", "NotifyFailing", "notifying %s fails: %v", target, err)
}

// NotifyUnverified reports a signal with an uncertain effect: the app may not reload.
func (e *Events) NotifyUnverified(target, message string) {
	e.enqueue("Warning", "NotifyUnverified", "%s: %s", target, message)
}

func (e *Events) enqueue(kind, reason, format string, args ...any) {
	if e == nil {
		return
	}
	now, message := metav1.Now(), fmt.Sprintf(format, args...)
	if len(message) > eventMessage {
		message = message[:eventMessage-3] + "..."
	}
	next := event{
		"apiVersion": "v1", "kind": "Event",
		"metadata": event{"namespace": e.pod.Namespace, "generateName": e.pod.Name + "."},
		"involvedObject": event{
			"apiVersion": "v1", "kind": "Pod", "namespace": e.pod.Namespace, "name": e.pod.Name, "uid": e.pod.UID,
		},
		"type": kind, "reason": reason, "message": strings.ToValidUTF8(message, "?"),
		"source": event{"component": "secret-sync"}, "reportingComponent": "secret-sync",
		"firstTimestamp": now, "lastTimestamp": now, "count": 1,
	}
	select {
	case e.queue <- next:
	default:
		e.log.Debug("event dropped", "reason", reason)
	}
}

// Run writes the Events until ctx ends and then returns nil. Before it returns, it writes the
// rest of the queue if it can do so quickly: an init container ends right after its only
// publish. It logs a failure when it begins, when its kind changes and when it ends.
func (e *Events) Run(ctx context.Context) error {
	if e == nil {
		return nil
	}
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(eventLastCall, cancel) })()
	limit, failure := rate.NewLimiter(rate.Every(eventInterval), eventBurst), ""
	for requests.Err() == nil && (ctx.Err() == nil || len(e.queue) > 0) {
		select {
		case next := <-e.queue:
			if limit.Wait(ctx) != nil && !limit.Allow() {
				return nil
			}
			object, _ := json.Marshal(next) // texts, numbers and times
			request, done := context.WithTimeout(requests, eventTimeout)
			err := e.post(request, e.pod.Namespace, object)
			done()
			kind := ""
			if err != nil {
				kind = cmp.Or(string(apierrors.ReasonForError(err)), "unreachable")
			}
			switch {
			case requests.Err() != nil || kind == failure: // the process ends, or nothing changed
			case kind == "":
				e.log.Info("events are written again")
			default:
				e.log.Warn("event not written", "reason", next["reason"], "err", err)
			}
			failure = kind
		case <-ctx.Done():
		}
	}
	return nil
}
