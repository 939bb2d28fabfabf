// Package events is the vocabulary of the platform: every event that travels through the Broker, who consumes it (the
// Catalog), and the rules of the CloudEvents envelope.
//
// An event is a CloudEvent 1.0. Its type lives on its payload, its id is derived from its cause, so a decision taken
// twice emits the same event twice and every consumer recognises the second one. The envelope carries, besides the
// attributes of the specification, these extensions:
//
//	correlationid  the work item, "owner/repo#12": the same for everything an issue causes
//	causationid    the id of the event that caused this one
//	partitionkey   equal to correlationid, so that a durable broker keeps an issue's events together
//	traceparent    W3C trace context, so that one trace spans webhook to pull request
//
// Events that other systems send keep their own names. GitHub's are those of Knative's GitHubSource: see GitHubType.
package events

import (
	"crypto/sha1" //nolint:gosec // see DeriveID
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"

	"codexk8s.dev/shared/plain"
)

// Names of the CloudEvents extension attributes that we set.
const (
	ExtCorrelation = "correlationid"
	extCausation   = "causationid"
	ExtPartition   = "partitionkey"
	ExtTraceparent = "traceparent"
)

// Prefix begins the type of every event of ours.
const Prefix = "dev.codexk8s."

// sourcePrefix begins the source of every event of ours; the function's name follows.
const sourcePrefix = "https://codexk8s.dev/"

// A Payload is the data of an event of ours. Its type is a constant of the
// payload, so renaming a Go struct can't orphan what is already stored.
type Payload interface {
	// EventType is the CloudEvents type, "dev.codexk8s.run.requested".
	EventType() string
	// EventSubject is the CloudEvents subject: a run id, or a work item.
	EventSubject() string
}

// A Draft is an event that a decision wants to emit, before it has an envelope.
type Draft struct {
	Payload Payload
	// NotBefore holds the event back until then; zero means at once.
	NotBefore time.Time
}

// Now drafts an event to be sent at once.
func Now(p Payload) Draft { return Draft{Payload: p} }

// At drafts a timer: an event like any other, sent no earlier than t.
func At(t time.Time, p Payload) Draft { return Draft{Payload: p, NotBefore: t} }

// A Record is one line of the audit: who did what to which work item, and why.
type Record struct {
	Actor  string `json:"actor"`            // "github:alice", "function:stage-router", "agent:<run id>"
	Action string `json:"action"`           // past tense, "run.requested", "label.ignored"
	Run    string `json:"run,omitempty"`    // run id, or ""
	Reason string `json:"reason,omitempty"` // machine-readable, "sender_is_bot"; "" = nothing went wrong
	Detail string `json:"detail,omitempty"` // for a person

	Process string `json:"process,omitempty"` // hash of the process by which it was decided; "" = by none
}

// A Decision is what a decider returns: events to emit and audit to keep.
type Decision struct {
	Emit  []Draft
	Audit []Record
}

// New gives a draft its envelope. The id is derived from the cause's id, the emitting function, the type and n, the
// draft's place among those of the same decision, so that repeating a decision repeats its ids.
func New(cause event.Event, function string, n int, d Draft) (event.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	p := d.Payload
	e.SetID(DeriveID(cause.Source(), cause.ID(), function, p.EventType(), strconv.Itoa(n)))
	e.SetType(p.EventType())
	e.SetSource(Source(function))
	e.SetSubject(p.EventSubject())
	if err := e.SetData(event.ApplicationJSON, p); err != nil {
		return e, fmt.Errorf("encoding %s: %w", p.EventType(), err)
	}
	correlation := Extension(cause, ExtCorrelation)
	if c, ok := p.(interface{ Correlation() string }); ok {
		correlation = c.Correlation()
	}
	setExtension(&e, ExtCorrelation, correlation)
	setExtension(&e, ExtPartition, correlation)
	setExtension(&e, extCausation, cause.ID())
	setExtension(&e, ExtTraceparent, Extension(cause, ExtTraceparent))
	return e, Sendable(e)
}

// maxAttribute bounds an attribute in bytes: a server takes a megabyte of headers at most, and many far less.
const maxAttribute = 4 << 10

// Sendable is an error for an event with an attribute that no HTTP header can hold: it could be stored but never sent.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#313-metadata-headers
func Sendable(e event.Event) error {
	attributes := map[string]string{
		"id": e.ID(), "source": e.Source(), "type": e.Type(), "subject": e.Subject(), "dataschema": e.DataSchema(), "datacontenttype": e.DataContentType(),
	}
	for name := range e.Extensions() {
		attributes[name] = Extension(e, name)
	}
	for name, value := range attributes {
		if len(value) > maxAttribute {
			return Reject("unsendable", fmt.Errorf("the event's %s has %d bytes, at most %d can be sent", name, len(value), maxAttribute))
		}
		if i := strings.IndexFunc(value, unicode.IsControl); i >= 0 || !utf8.ValidString(value) {
			return Reject("unsendable", fmt.Errorf("the event's %s holds a character that no header can hold: %q", name, value))
		}
	}
	return nil
}

// DeriveID makes a stable id (a UUID, version 5) from what identifies a thing.
func DeriveID(parts ...string) string {
	text := make([]byte, 0, 256)
	text = append(text, uuid.NameSpaceURL[:]...)
	for i, part := range parts {
		if i > 0 {
			text = append(text, 0)
		}
		text = append(text, part...)
	}
	sum := sha1.Sum(text) //nolint:gosec // as RFC 9562 has it; it tells names apart and secures nothing
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x50, id[8]&0x3f|0x80 // version 5, variant of the RFC
	return id.String()
}

// Source is the CloudEvents source of the named function.
func Source(function string) string { return sourcePrefix + function }

// Extension returns the extension attribute as a string, "" when it is absent.
func Extension(e event.Event, name string) string {
	if s, ok := e.Extensions()[name].(string); ok {
		return s
	}
	return ""
}

func setExtension(e *event.Event, name, value string) {
	if value != "" {
		e.SetExtension(name, value)
	}
}

// Decode reads the event's data into a payload of type P.
// It rejects an event of another type and data that does not fit, naming both; unknown fields are allowed, so that a
// newer release may add some. Its texts can be stored: see plain.Unmarshal.
func Decode[P Payload](e event.Event) (P, error) {
	var p P
	if e.Type() != p.EventType() {
		return p, Reject("unexpected_type", fmt.Errorf("event %s has type %s, not %s", e.ID(), e.Type(), p.EventType()))
	}
	if err := plain.Unmarshal(e.Data(), &p); err != nil {
		return p, Malformed(fmt.Errorf("event %s: data is no %s: %w", e.ID(), reflect.TypeFor[P]().Name(), err))
	}
	return p, nil
}

// WorkItem is the key of an issue: "owner/repo#12". Repository names are
// case-insensitive on GitHub, so the key is lower case.
func WorkItem(repository string, issue int) string {
	return strings.ToLower(repository) + "#" + strconv.Itoa(issue)
}

// githubPrefix begins the type of a raw GitHub event, as Knative's GitHubSource names it.
const githubPrefix = "dev.knative.source.github."

// GitHubType is the CloudEvents type of a webhook's X-GitHub-Event value, the
// one that Knative's GitHubSource uses, so either can feed the Broker.
func GitHubType(name string) string { return githubPrefix + name }

// IsOurs reports whether the type is one that the platform itself emits.
func IsOurs(eventType string) bool { return strings.HasPrefix(eventType, Prefix) }

// A RejectedError rejects an event for good: redelivery would not help. The event goes
// to the dead letters, where a person may look at it and replay it.
type RejectedError struct {
	Reason    string // machine-readable
	Malformed bool   // the event could not even be read
	err       error
}

func (e *RejectedError) Error() string { return e.err.Error() }
func (e *RejectedError) Unwrap() error { return e.err }

// Reject says that an event was understood and can never be handled.
func Reject(reason string, err error) error { return &RejectedError{Reason: reason, err: err} }

// Malformed says that an event can't be read.
func Malformed(err error) error {
	return &RejectedError{Reason: "malformed", Malformed: true, err: err}
}

// A RetryLaterError is a temporary failure that names the time from which a retry makes sense.
type RetryLaterError struct {
	Until time.Time
	err   error
}

func (e *RetryLaterError) Error() string { return e.err.Error() }
func (e *RetryLaterError) Unwrap() error { return e.err }

// RetryAt wraps a temporary failure with the time from which to try again.
func RetryAt(t time.Time, err error) error { return &RetryLaterError{Until: t, err: err} }

// AsRejected returns the rejection inside err, if any.
func AsRejected(err error) (*RejectedError, bool) {
	var r *RejectedError
	return r, errors.As(err, &r)
}
