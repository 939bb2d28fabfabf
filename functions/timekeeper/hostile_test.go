package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"codexk8s.dev/test/hostile"
)

// TestHostileDeadLetters: what a function said of an event that it refused is text of anybody's.
func TestHostileDeadLetters(t *testing.T) {
	f := setup(t)
	const source, data = "https://github.com/acme/api", `{"a":"b"}`
	hostile.Try(t, `{"specversion":"1.0","id":"1","source":"`+source+`","type":"dev.knative.source.github.issues","subject":"12","datacontenttype":"application/json",
		"partitionkey":"p","knativeerrordest":"http://stage-router.codexk8s.svc.cluster.local/","knativeerrorcode":"422","knativeerrordata":"bm8gc3VjaCBydW4=","data":`+data+`}`,
		func(c hostile.Case) (int, string) {
			f.sql.Log(source, "1", "dev.knative.source.github.issues", []byte(data))
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/dead-letters", strings.NewReader(string(c.Data)))
			r.Header.Set("Content-Type", "application/cloudevents+json")
			w := httptest.NewRecorder()
			f.s.Handler().ServeHTTP(w, r)
			return w.Code, w.Body.String()
		})
}
