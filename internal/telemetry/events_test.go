package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// creator stores the created objects. answer returns the answer of the server.
type creator struct {
	mu     sync.Mutex
	events []corev1.Event
	answer func(ctx context.Context, n int) error // n counts from 1
}

func (c *creator) CreateEvent(ctx context.Context, namespace string, object []byte) error {
	event, err := inAPI(object)
	if err != nil || namespace != "prod" {
		return fmt.Errorf("namespace %s: %w", namespace, err)
	}
	c.mu.Lock()
	c.events = append(c.events, event)
	n := len(c.events)
	c.mu.Unlock()
	if c.answer == nil {
		return nil
	}
	return c.answer(ctx, n)
}

func (c *creator) messages() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		all = append(all, e.Type+" "+e.Reason+": "+e.Message)
	}
	return all
}

// running starts Events in a synctest bubble; stop ends them and waits.
func running(t *testing.T, c *creator, log *testsupport.Log) (events *Events, stop func()) {
	t.Helper()
	events = NewEvents(Pod{Namespace: "prod", Name: "app-0", UID: "1-2-3"}, c.CreateEvent, log.Logger(slog.LevelDebug))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- events.Run(ctx) }()
	return events, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v", err)
		}
	}
}

func TestEvents_onThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(creator)
		events, stop := running(t, c, new(testsupport.Log))
		events.Published(3, []string{"db", "tls"})
		events.Rejected("tls", "the required key tls.key is missing")
		events.NotifyFailing("webhook", errors.New("connection refused"))
		synctest.Wait()
		stop()
		want := []string{
			"Normal SecretsPublished: published generation 3: db, tls",
			"Warning SecretRefused: Secret tls is not published: the required key tls.key is missing",
			"Warning NotifyFailing: notifying webhook fails: connection refused",
		}
		if got := c.messages(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		e := c.events[0]
		o := e.InvolvedObject
		if o.Kind != "Pod" || o.APIVersion != "v1" || o.Namespace != "prod" || o.Name != "app-0" || o.UID != "1-2-3" {
			t.Errorf("involved object: got %+v", o)
		}
		if e.Namespace != "prod" || e.GenerateName != "app-0." || e.APIVersion != "v1" || e.Kind != "Event" ||
			e.Count != 1 || e.Type != "Normal" ||
			e.Reason != "SecretsPublished" || e.Message != "published generation 3: db, tls" ||
			e.Source.Component != "secret-sync" || e.ReportingController != "secret-sync" {
			t.Errorf("got %+v", e)
		}
		if now := time.Now(); !e.FirstTimestamp.Time.Equal(now) || !e.LastTimestamp.Time.Equal(now) {
			t.Errorf("got %v and %v, want %v", e.FirstTimestamp, e.LastTimestamp, now)
		}
	})
}

// inAPI decodes an Event like an API server, which knows all of its fields.
func inAPI(object []byte) (event corev1.Event, err error) {
	d := json.NewDecoder(bytes.NewReader(object))
	d.DisallowUnknownFields()
	err = d.Decode(&event)
	return event, err
}

func TestEvents_nil(t *testing.T) {
	var events *Events
	events.Published(1, []string{"a"})
	events.Rejected("a", "b")
	events.NotifyFailing("a", errors.New("b"))
	if err := events.Run(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestEvents_neverBlock: the pipeline does not wait while the API server does not answer.
func TestEvents_neverBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &creator{answer: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}
		log := new(testsupport.Log)
		events, stop := running(t, c, log)
		start := time.Now()
		for i := range 100 {
			events.Published(uint64(i), nil)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
		synctest.Wait()
		if got := log.Count("event dropped"); got < 100-eventQueue-1 {
			t.Errorf("got %d dropped, want all that the queue does not hold", got)
		}
		start = time.Now()
		stop()
		if took := time.Since(start); took > eventLastCall {
			t.Errorf("the end took %s, want at most %s", took, eventLastCall)
		}
	})
}

func TestEvents_limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(creator)
		events, stop := running(t, c, new(testsupport.Log))
		for i := range 20 {
			events.Published(uint64(i), nil)
		}
		synctest.Wait()
		if got := len(c.messages()); got != eventBurst {
			t.Errorf("got %d at once, want %d", got, eventBurst)
		}
		time.Sleep(2*eventInterval + time.Second) // the bubble's clock
		synctest.Wait()
		if got := len(c.messages()); got != eventBurst+2 {
			t.Errorf("got %d after two intervals, want %d", got, eventBurst+2)
		}
		stop()
		if got := len(c.messages()); got != eventBurst+2 {
			t.Errorf("got %d after the end, want %d", got, eventBurst+2)
		}
	})
}

// TestEvents_lastCall: an init container ends right after its only publish.
func TestEvents_lastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &creator{answer: func(ctx context.Context, _ int) error {
			select {
			case <-time.After(50 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		log := new(testsupport.Log)
		events, stop := running(t, c, log)
		events.Published(1, []string{"a"})
		events.Published(2, []string{"a"})
		stop()
		if got := len(c.messages()); got != 2 || log.Count("not written") > 0 {
			t.Errorf("got %d, want 2; log:\n%s", got, log)
		}
	})
}

// TestEvents_requestTimeout: a hanging request does not delay the next Event for long.
func TestEvents_requestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &creator{answer: func(ctx context.Context, n int) error {
			if n == 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		}}
		log := new(testsupport.Log)
		events, stop := running(t, c, log)
		events.Published(1, []string{"a"})
		events.Published(2, []string{"a"})
		time.Sleep(eventTimeout)
		synctest.Wait()
		if got := len(c.messages()); got != 2 || log.Count("not written") != 1 {
			t.Errorf("got %d, want 2; log:\n%s", got, log)
		}
		stop()
	})
}

func TestEvents_failureIsLoggedOnce(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("no rule"))
	answers := []error{forbidden, forbidden, errors.New("dial 1"), errors.New("dial 2"), nil, forbidden}
	synctest.Test(t, func(t *testing.T) {
		c := &creator{answer: func(_ context.Context, n int) error { return answers[n-1] }}
		log := new(testsupport.Log)
		events, stop := running(t, c, log)
		for i := range answers {
			events.Published(uint64(i), nil)
			synctest.Wait()
		}
		stop()
		if got := log.Count("event not written"); got != 3 {
			t.Errorf("got %d warnings, want 3: forbidden, unreachable, forbidden again:\n%s", got, log)
		}
		if got := log.Count("written again"); got != 1 {
			t.Errorf("got %d recoveries, want 1", got)
		}
	})
}

func TestEvents_messageLimit(t *testing.T) {
	events := NewEvents(Pod{}, nil, nil)
	events.Rejected("db", strings.Repeat("x", 2000))
	if got := (<-events.queue)["message"].(string); len(got) != eventMessage {
		t.Errorf("got an Event with a message of %d bytes, want %d", len(got), eventMessage)
	}
	for _, text := range []string{strings.Repeat("ä", 1000), "a\xff"} {
		events.NotifyUnverified("process", text)
		got := (<-events.queue)["message"].(string)
		if len(got) > eventMessage || strings.ToValidUTF8(got, "?") != got {
			t.Errorf("got %d bytes: %q", len(got), got)
		}
	}
}
