package main

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codexk8s.dev/functions/agent-runner/internal/session"
	"codexk8s.dev/test/fakes/model"
)

// A conversation that is too large to keep costs no file: the next pod has a new one, with the work of the pod before.
func TestAConversationThatIsTooLargeToKeepCostsNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "codex")
	const home = `d="$CODEX_HOME/sessions/2026/01/01"; mkdir -p "$d"; `
	pod := w.pod(w.stub(home + `head -c 20000000 /dev/urandom | base64 -w 0 >"$d/rollout-1-0192-abcdef01.jsonl"; echo >>"$d/rollout-1-0192-abcdef01.jsonl"
		mkdir -p greetings; echo Bonjour >greetings/french.txt; sleep 600`))
	ended := make(chan struct{})
	go func() {
		for kept := false; !kept; {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
			w.gateway.change(func(g *fakeGateway) {
				stored, err := session.Decode(g.snapshot.GetData())
				kept = err == nil && stored.Forgotten && stored.Work != ""
			})
		}
		killed(pod)
	}()
	code := w.exit(pod)
	close(ended)
	if code != -1 {
		t.Fatalf("exit code %d", code)
	}
	w.script(model.Step{List: "."})
	var told atomic.Bool
	w.answering(func(_ http.ResponseWriter, body string) bool {
		told.Store(told.Load() || strings.Contains(body, "in a conversation that cannot go on (too large to keep)"))
		return false
	})
	if code := w.exit(w.pod(w.codex()...)); code != 0 {
		t.Fatalf("the next pod ends with %d", code)
	}
	w.finishedOnce()
	if !told.Load() {
		t.Error("the agent does not know that it has worked before")
	}
}
