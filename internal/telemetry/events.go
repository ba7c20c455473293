package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The reasons of the Events.
const (
	ReasonPublished     = "SecretsPublished"
	ReasonRefused       = "SecretRefused"
	ReasonNotifyFailing = "NotifyFailing"
)

const (
	eventQueue     = 32                     // what is queued; more is dropped
	eventBurst     = 10                     // Events at once …
	eventInterval  = 10 * time.Second       // … and then one in this time
	eventTimeout   = 10 * time.Second       // for one request
	eventLastCall  = 300 * time.Millisecond // for what is queued at the end
	eventRepeat    = 10 * time.Minute       // the same again is not written before
	eventMessage   = 1024                   // bytes; the limit of events.k8s.io
	eventNames     = 20                     // Secrets that one message names
	eventComponent = "secret-sync"
)

// The types of Events.
const eventNormal, eventWarning = "Normal", "Warning"

// EventCreator creates an Event in the API server.
type EventCreator interface {
	Create(ctx context.Context, event *Event) error
}

// Event is the JSON of a core/v1 Event, with the fields that are written. The
// type of k8s.io/api would bring all others of its package into the binary.
type Event struct {
	APIVersion          string          `json:"apiVersion"`
	Kind                string          `json:"kind"`
	Metadata            EventMetadata   `json:"metadata"`
	InvolvedObject      ObjectReference `json:"involvedObject"`
	Type                string          `json:"type"`
	Reason              string          `json:"reason"`
	Message             string          `json:"message"`
	Source              EventSource     `json:"source"`
	ReportingController string          `json:"reportingComponent"`
	FirstTimestamp      metav1.Time     `json:"firstTimestamp"`
	LastTimestamp       metav1.Time     `json:"lastTimestamp"`
	Count               int             `json:"count"`
}

// EventMetadata names an Event.
type EventMetadata struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// ObjectReference names what an Event is about.
type ObjectReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// EventSource names who writes an Event.
type EventSource struct {
	Component string `json:"component"`
}

// Pod is the object that Events are about.
type Pod struct{ Namespace, Name, UID string }

// Events writes Events on the Pod. Its methods never wait for the API server:
// what cannot be written soon is dropped, since the log and the metrics say it
// too. On a nil *Events they do nothing.
type Events struct {
	pod     Pod
	creator EventCreator
	log     *slog.Logger
	limit   *rate.Limiter
	queue   chan *Event

	mu     sync.Mutex
	recent map[subject]warning // the last one, so that it is not repeated
}

// subject is what a warning is about: a Secret or a target.
type subject struct{ reason, name string }

type warning struct {
	message string
	at      time.Time
}

// NewEvents gives Events that begin to be written with Run.
func NewEvents(pod Pod, creator EventCreator, log *slog.Logger) *Events {
	return &Events{
		pod:     pod,
		creator: creator,
		log:     log,
		limit:   rate.NewLimiter(rate.Every(eventInterval), eventBurst),
		queue:   make(chan *Event, eventQueue),
		recent:  make(map[subject]warning),
	}
}

// Published says that a generation with changes of these Secrets is in the
// volume.
func (e *Events) Published(generation uint64, secrets []string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	for _, name := range secrets { // one that is refused again is news again
		delete(e.recent, subject{ReasonRefused, name})
	}
	e.mu.Unlock()
	e.put(eventNormal, ReasonPublished, fmt.Sprintf("published generation %d: %s", generation, list(secrets)))
}

// Refused says that the newest state of a Secret is not published, and why:
// the reason has names, never values.
func (e *Events) Refused(secret, reason string) {
	e.warn(ReasonRefused, secret, fmt.Sprintf("Secret %s is not published: %s", secret, reason))
}

// NotifyFailing says that the app could not be notified, and why: the reason has no
// values.
func (e *Events) NotifyFailing(target, reason string) {
	e.warn(ReasonNotifyFailing, target, fmt.Sprintf("notifying by %s fails: %s", target, reason))
}

// warn leaves out what was written of the same name a short time ago: a retry is no
// news, and an Event cannot be counted up without the right to patch it.
func (e *Events) warn(reason, name, message string) {
	if e == nil {
		return
	}
	now := time.Now()
	e.mu.Lock()
	last, known := e.recent[subject{reason, name}]
	repeated := known && last.message == message && now.Sub(last.at) < eventRepeat
	if !repeated {
		e.recent[subject{reason, name}] = warning{message, now}
	}
	for s, old := range e.recent {
		if now.Sub(old.at) >= eventRepeat {
			delete(e.recent, s)
		}
	}
	e.mu.Unlock()
	if !repeated {
		e.put(eventWarning, reason, message)
	}
}

func (e *Events) put(kind, reason, message string) {
	select {
	case e.queue <- e.event(kind, reason, message, time.Now()):
	default:
		e.log.Debug("event dropped", "reason", reason)
	}
}

func (e *Events) event(kind, reason, message string, at time.Time) *Event {
	stamp := metav1.NewTime(at)
	return &Event{
		APIVersion: "v1", Kind: "Event",
		Metadata: EventMetadata{Namespace: e.pod.Namespace, Name: eventName(e.pod.Name, at)},
		InvolvedObject: ObjectReference{
			APIVersion: "v1", Kind: "Pod",
			Namespace: e.pod.Namespace, Name: e.pod.Name, UID: e.pod.UID,
		},
		Type: kind, Reason: reason, Message: truncate(message, eventMessage),
		Source: EventSource{Component: eventComponent}, ReportingController: eventComponent,
		FirstTimestamp: stamp, LastTimestamp: stamp, Count: 1,
	}
}

// eventName is the name that client-go's recorder would give it, at most as
// long as a name may be.
func eventName(pod string, at time.Time) string {
	suffix := fmt.Sprintf(".%x", at.UnixNano())
	return strings.TrimRight(pod[:min(len(pod), 253-len(suffix))], "-.") + suffix
}

// list names the Secrets, or as many as make a readable line.
func list(secrets []string) string {
	if more := len(secrets) - eventNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(secrets[:eventNames], ", "), more)
	}
	return strings.Join(secrets, ", ")
}

// truncate cuts a text to at most n bytes, between characters.
func truncate(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	const mark = "..."
	return strings.ToValidUTF8(text[:n-len(mark)], "") + mark
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
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(eventLastCall, cancel) })
	defer stop()
	state := "" // why creating fails; empty while it does not
	for requests.Err() == nil {
		event := e.next(ctx)
		if event == nil {
			break
		}
		state = e.create(requests, event, state)
	}
	return nil
}

// next waits for an Event and for the rate limit. After the end of the context it
// waits for neither, and gives nil where it would have to.
func (e *Events) next(ctx context.Context) (event *Event) {
	select {
	case event = <-e.queue:
	case <-ctx.Done():
		select {
		case event = <-e.queue:
		default:
			return nil
		}
	}
	if e.limit.Wait(ctx) == nil || e.limit.Allow() {
		return event
	}
	return nil
}

// create logs a failure when it begins and when its kind changes, and gives the
// kind.
func (e *Events) create(ctx context.Context, event *Event, before string) string {
	request, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	err := e.creator.Create(request, event)
	switch {
	case err == nil:
		if before != "" {
			e.log.Info("events are written again")
		}
		return ""
	case ctx.Err() != nil:
		return before // the end, no failure
	}
	state := "unreachable"
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		state = string(reason)
	}
	if state != before {
		e.log.Warn("event not written", "reason", event.Reason, "err", err)
	}
	return state
}
