package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestTheModelIsOfferedWhatTheProjectAllows holds that the real CLI asks for no web search of its own accord, and for
// one when the project allows it.
func TestTheModelIsOfferedWhatTheProjectAllows(t *testing.T) {
	t.Parallel()
	for _, allowed := range [][]string{nil, {"web_search"}} {
		t.Run(strings.Join(allowed, ","), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "codex")
			w.gateway.change(func(g *fakeGateway) { g.assignment.HostedTools = allowed })
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			requests := w.model.Requests()
			if len(requests) == 0 {
				t.Fatal("the model was asked for nothing")
			}
			for _, r := range requests {
				if offered := bytes.Contains(r.Body, []byte(`"type":"web_search"`)); offered != (allowed != nil) {
					t.Errorf("web_search is offered: %v", offered)
				}
			}
		})
	}
}
