package serve

import (
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// setHeaders writes the event's attributes as the headers of the HTTP binding in binary mode. The SDK's writer uses
// five layers of readers for this, and sending is on the path of every acknowledgement. Like the SDK, and so the
// Broker, it does not percent-encode, because their readers would not decode.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#313-metadata-headers
func setHeaders(h http.Header, e event.Event) {
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	set("Ce-Specversion", e.SpecVersion())
	set("Ce-Id", e.ID())
	set("Ce-Source", e.Source())
	set("Ce-Type", e.Type())
	set("Ce-Subject", e.Subject())
	set("Ce-Dataschema", e.DataSchema())
	if t := e.Time(); !t.IsZero() {
		set("Ce-Time", t.UTC().Format(time.RFC3339Nano))
	}
	for name, value := range e.Extensions() {
		if s, err := types.Format(value); err == nil {
			set("Ce-"+strings.ToUpper(name[:1])+name[1:], s)
		}
	}
	if ct := e.DataContentType(); ct != "" {
		h.Set("Content-Type", ct)
	}
}
