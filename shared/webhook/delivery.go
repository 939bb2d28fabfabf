package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
)

// sourceHost comes before owner/name in the CloudEvent source. It is the same for a GitHub Enterprise Server, as in
// GitHubSource: the source is a name of the repository, not a link.
const sourceHost = "https://github.com"

// Delivery is what is known about a webhook delivery at first sight: enough for its CloudEvent envelope and for
// routing. The payload itself is kept byte for byte elsewhere.
type Delivery struct {
	GUID         string // X-GitHub-Delivery; a redelivery has the same one
	Event        string // X-GitHub-Event, e.g. "issues"
	Action       string // e.g. "labeled"; "" where the event has none (push, ping)
	Label        string // that was set or removed, e.g. "run:dev"; "" in other events
	Owner        string // login of the repository's owner; "" without a repository
	Repository   string // "owner/name"; "" for events of an organisation or an App
	Number       int64  // issue or pull request; 0 when the event is about neither
	Sender       string // login of who did it; "" where GitHub sends none
	Installation int64  // of the App hook; 0 for a repository hook
}

// CloudEvent is the delivery's event, with the envelope that Knative's GitHubSource gives it and a few extensions to
// filter by: action, label, owner, repository, sender. The payload is its data, byte for byte.
func (d Delivery) CloudEvent(payload []byte, received time.Time) event.Event {
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(d.GUID)
	e.SetType(events.GitHubType(d.Event))
	e.SetSource(d.Source())
	e.SetTime(received.UTC())
	e.SetDataContentType(event.ApplicationJSON)
	e.DataEncoded = payload
	if s := d.Subject(); s != "" {
		e.SetSubject(s)
	}
	if d.Number > 0 && d.Repository != "" {
		item := events.WorkItem(d.Repository, int(d.Number))
		e.SetExtension(events.ExtPartition, item)
		// A pull request is not a work item: it belongs to one, and stage-router knows to which.
		if d.Event == "issues" {
			e.SetExtension(events.ExtCorrelation, item)
		}
	}
	for _, x := range [...][2]string{{"action", d.Action}, {"label", d.Label}, {"owner", d.Owner}, {"repository", d.Repository}, {"sender", d.Sender}} {
		if x[1] != "" {
			e.SetExtension(x[0], x[1])
		}
	}
	return e
}

// SamePayload reports whether two payloads with one GUID are about the same event although their bytes differ. A GUID
// identifies an event, not a delivery: the hooks of a repository, an organisation and an App all send it, each with its
// own additions. And the deliveries API encodes a payload again. So for an event that we read, two payloads are the
// same if everything that we read is; for any other, if they differ only in what a hook adds.
// https://docs.github.com/en/rest/apps/webhooks#get-a-delivery-for-an-app-webhook (guid)
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#webhook-payload-object-common-properties
func SamePayload(a, b []byte) bool {
	var x, y map[string]any
	if !readObject(a, &x) || !readObject(b, &y) {
		return false
	}
	if withoutHook(x); reflect.DeepEqual(x, withoutHook(y)) {
		return true
	}
	p, errP := decode("", a)
	q, errQ := decode("", b)
	return errP == nil && errQ == nil && p.Issue.Number+p.PullRequest.Number > 0 && reflect.DeepEqual(p, q)
}

// withoutHook drops the parts of a payload that are only there because of its hook.
func withoutHook(payload map[string]any) map[string]any {
	for _, member := range []string{"installation", "organization", "enterprise"} {
		delete(payload, member)
	}
	if repository, ok := payload["repository"].(map[string]any); ok {
		delete(repository, "custom_properties")
	}
	return payload
}

// readObject keeps numbers as written: an id may have more digits than a float.
func readObject(data []byte, to *map[string]any) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(to) == nil
}

// Source is the CloudEvent source: the repository's address, or GitHub's for an event without one.
func (d Delivery) Source() string {
	if d.Repository == "" {
		return sourceHost
	}
	return sourceHost + "/" + d.Repository
}

// Subject is the CloudEvent subject: the number of the issue or pull request, or "".
func (d Delivery) Subject() string {
	if d.Number == 0 {
		return ""
	}
	return strconv.FormatInt(d.Number, 10)
}

// Classify reads a delivery's envelope out of its headers and payload in one pass over the payload. Its errors are the
// sender's fault: a missing or impossible header, or a *SyntaxError.
func Classify(event, guid string, payload []byte) (Delivery, error) {
	d := Delivery{GUID: guid, Event: event}
	if !isEventName(event) {
		return d, fmt.Errorf("header %s is missing or no event name: %q", HeaderEvent, clip(event))
	}
	if !isDeliveryID(guid) {
		return d, fmt.Errorf("header %s is missing or no delivery id: %q", HeaderDelivery, clip(guid))
	}
	s := scanner{data: payload}
	var issue, pull, number int64
	err := s.document(func(key []byte) error {
		switch string(key) { // the conversion does not allocate in a switch
		case "action":
			return s.text(&d.Action)
		case "label":
			return s.pick("name", &d.Label)
		case "repository":
			return s.pick("full_name", &d.Repository)
		case "sender":
			return s.pick("login", &d.Sender)
		case "issue":
			return s.pickInteger("number", &issue)
		case "pull_request":
			return s.pickInteger("number", &pull)
		case "number":
			return s.integer(&number)
		case "installation":
			return s.pickInteger("id", &d.Installation)
		}
		return s.skip()
	})
	if err != nil {
		return d, err
	}
	if d.Repository != "" {
		owner, name, ok := strings.Cut(d.Repository, "/")
		if !ok || !IsName(owner) || !IsName(name) {
			return d, errors.New("repository.full_name is not owner/name")
		}
		d.Owner = owner
	}
	d.Action, d.Label, d.Sender = attribute(d.Action), attribute(d.Label), attribute(d.Sender)
	for _, n := range []int64{issue, pull, number} {
		if n > 0 {
			d.Number = n
			break
		}
	}
	return d, nil
}

// pick reads the object at the position for one of its strings.
func (s *scanner) pick(field string, to *string) error {
	*to = ""
	return s.fields(func(key []byte) error {
		if string(key) == field {
			return s.text(to)
		}
		return s.skip()
	})
}

// pickInteger is pick for an integer.
func (s *scanner) pickInteger(field string, to *int64) error {
	*to = 0
	return s.fields(func(key []byte) error {
		if string(key) == field {
			return s.integer(to)
		}
		return s.skip()
	})
}

// isEventName checks what becomes part of a CloudEvent type against GitHub's alphabet ("pull_request", "projects_v2").
func isEventName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

// isDeliveryID is loose on purpose: GitHub sends a UUID today and promises only that it is unique.
func isDeliveryID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// IsName reports whether GitHub allows the name for an owner or a repository; it goes into a URI, where dots alone
// would mean another place.
func IsName(s string) bool {
	if s == "" || len(s) > 100 || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// attribute returns s if it can be a CloudEvent's attribute, and so an HTTP header: short and printable. GitHub's
// actions and logins are, and so are the labels that start something; other values are left out, as nothing filters by
// them.
func attribute(s string) string {
	if !isDeliveryID(s) {
		return ""
	}
	return s
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
