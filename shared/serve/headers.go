package serve

import (
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// setHeaders writes the event's attributes as the headers of the HTTP binding in
// binary mode. The SDK's writer goes through five layers of readers for this;
// sending is on the path of every acknowledgement. Like the SDK, and so like the
// Broker, it does not percent-encode: a reader of theirs would not decode.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#313-metadata-headers
func setHeaders(h http.Header, e event.Event) {
	set := func(name, value string) {
		if value != "" {
			h["Ce-"+strings.ToUpper(name[:1])+name[1:]] = []string{value}
		}
	}
	set("specversion", e.SpecVersion())
	set("id", e.ID())
	set("source", e.Source())
	set("type", e.Type())
	set("subject", e.Subject())
	set("dataschema", e.DataSchema())
	if t := e.Time(); !t.IsZero() {
		set("time", t.UTC().Format(time.RFC3339Nano))
	}
	for name, value := range e.Extensions() {
		if s, err := types.Format(value); err == nil {
			set(name, s)
		}
	}
	if ct := e.DataContentType(); ct != "" {
		h.Set("Content-Type", ct)
	}
}
