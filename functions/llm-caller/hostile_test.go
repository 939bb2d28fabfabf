package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/test/hostile"
)

func TestHostileEvents(t *testing.T) {
	f := setup(t)
	sink := httptest.NewServer(f.broker)
	defer sink.Close()
	s := serve.New("llm-caller", sink.URL)
	f.h.routes(s)
	hostile.Function{Name: "llm-caller", Handler: s.Handler(), DB: f.db, SQL: f.sql}.Hear(t, map[string]string{events.LLMRequested{}.EventType(): question})
}

// TestHostileCalls: a pod's request to a model. 403 is another model than the run's.
func TestHostileCalls(t *testing.T) {
	f := setup(t)
	bearer := token(t, nil)
	for path, template := range map[string]string{
		"responses":        `{"model":"gpt-5.4","stream":true,"background":false,"input":[{"role":"user","content":"hello"}],"tools":[],"metadata":{"a":"b"}}`,
		"chat/completions": `{"model":"gpt-5.4","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]}`,
	} {
		t.Run(path, func(t *testing.T) {
			hostile.Try(t, template, func(c hostile.Case) (int, string) {
				res := f.ask(f.url+"/v1/"+path, bearer, strings.NewReader(string(c.Data)), "Content-Type", "application/json")
				return res.StatusCode, text(t, res)
			}, http.StatusForbidden)
		})
	}
}
