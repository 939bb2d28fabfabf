package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"codexk8s.dev/functions/agent-runner/internal/session"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/test/fakes/model"
)

// answering puts f before the model: it answers, or returns false.
func (w *world) answering(f func(rw http.ResponseWriter, body string) bool) {
	next := w.model
	w.llm = w.serve("model", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.t.Error(err)
		}
		if r.Method == http.MethodPost && f(rw, string(body)) {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(rw, r)
	})) + "/v1"
}

// said answers with OpenAI's error.
func said(rw http.ResponseWriter, status int, code string) bool {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = fmt.Fprintf(rw, `{"error":{"message":"It is so.","type":"x","param":null,"code":%q}}`, code)
	return true
}

// saidInStream answers with a stream that fails.
func saidInStream(rw http.ResponseWriter, code string) bool {
	rw.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprintf(rw, "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n"+
		"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"status\":\"failed\",\"error\":{\"code\":%q,\"message\":\"It is so.\"}}}\n\n", code)
	return true
}

// A model that is busy is waited for by time, however it says so, and however often it has to be asked.
func TestABusyModelIsWaitedForHoweverItSaysSo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		engine string
		busy   func(http.ResponseWriter) bool
	}{
		"429, builtin":               {"builtin", func(rw http.ResponseWriter) bool { return said(rw, 429, "rate_limit_exceeded") }},
		"429, codex":                 {"codex", func(rw http.ResponseWriter) bool { return said(rw, 429, "rate_limit_exceeded") }},
		"529 of a proxy, codex":      {"codex", func(rw http.ResponseWriter) bool { rw.WriteHeader(529); return true }},
		"overloaded in the stream":   {"codex", func(rw http.ResponseWriter) bool { return saidInStream(rw, "server_is_overloaded") }},
		"rate limit in the stream":   {"codex", func(rw http.ResponseWriter) bool { return saidInStream(rw, "rate_limit_exceeded") }},
		"unknown code in the stream": {"codex", func(rw http.ResponseWriter) bool { return saidInStream(rw, "bad_weather") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.engine)
			var calls atomic.Int32
			w.answering(func(rw http.ResponseWriter, _ string) bool {
				return calls.Add(1) <= 4 /* more than it may crash */ && c.busy(rw)
			})
			if code := w.exit(w.pod(append(w.codex(), "RETRY_FOR=5m")...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
		})
	}
}

// A conversation that the model refuses is left: the next one has the task and the files, and nothing of the old one is
// stored again.
func TestARefusedConversationIsBegunAnew(t *testing.T) {
	t.Parallel()
	const first = "carry out the stage" // of the first run's opening
	for name, c := range map[string]struct {
		engine string
		refuse func(http.ResponseWriter) bool
	}{
		"too long, builtin":       {"builtin", func(rw http.ResponseWriter) bool { return said(rw, 400, "context_length_exceeded") }},
		"too long, codex":         {"codex", func(rw http.ResponseWriter) bool { return said(rw, 400, "context_length_exceeded") }},
		"too long, in the stream": {"codex", func(rw http.ResponseWriter) bool { return saidInStream(rw, "context_length_exceeded") }},
		"image, in the stream":    {"codex", func(rw http.ResponseWriter) bool { return saidInStream(rw, "invalid_image_format") }},
		"too large, codex":        {"codex", func(rw http.ResponseWriter) bool { return said(rw, 413, "request_too_large") }},
		"another key, codex":      {"codex", func(rw http.ResponseWriter) bool { return said(rw, 400, "invalid_encrypted_content") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.engine)
			w.script(model.Step{Run: "mkdir -p greetings; echo Bonjour >>greetings/french.txt"})
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.gateway.change(func(g *fakeGateway) {
				g.assignment.Revise, g.assignment.RunId, g.reports = true, strings.Replace(testRun, "7", "8", 1), nil
				g.assignment.Review = &agentapi.Review{Author: "olga", Body: "Say it twice."}
			})
			var refused atomic.Int32
			w.answering(func(rw http.ResponseWriter, body string) bool {
				return strings.Contains(body, first) && refused.Add(1) > 0 && c.refuse(rw)
			})
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			if r := w.gateway.report(); r.GetOutcome() != "succeeded" {
				t.Errorf("report %v", r)
			}
			if refused.Load() == 0 {
				t.Error("the old conversation was not tried")
			}
			stored, err := session.Decode(w.gateway.snapshot.GetData())
			if err != nil || bytes.Contains(stored.Memory, []byte(first)) || !bytes.Contains(stored.Memory, []byte("in a conversation that cannot go on")) {
				t.Errorf("the refused conversation is stored again, %v", err)
			}
		})
	}
}

// When the first request of a new conversation is refused, another conversation would be refused as well.
func TestARefusedTaskIsFinal(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			var calls atomic.Int32
			w.answering(func(rw http.ResponseWriter, _ string) bool { calls.Add(1); return said(rw, 400, "invalid_prompt") })
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if r := w.gateway.report(); r.GetReason() != reason.Engine || !strings.Contains(r.GetSummary(), "invalid_prompt") {
				t.Errorf("report %v", r)
			}
			if calls.Load() > 2 {
				t.Errorf("%d calls", calls.Load())
			}
		})
	}
}

// stub is a Codex CLI that is a shell script.
func (w *world) stub(script string) string {
	file := filepath.Join(w.dir, "codex")
	executable(w.t, file, []byte("#!/bin/sh\necho '{\"type\":\"thread.started\",\"thread_id\":\"0192-abcdef01\"}'\n"+script))
	return "CODEX_BIN=" + file
}

func TestACompletedTurnIsKeptHoweverTheCLIEnds(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"exit 1", "kill -9 $$", "kill -SEGV $$"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "codex")
			cli := w.stub("mkdir -p greetings; echo Bonjour >greetings/french.txt\n" +
				"echo '{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",\"text\":\"Said.\"}}'\necho '{\"type\":\"turn.completed\"}'\n" + end)
			if code := w.exit(w.pod(cli)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
		})
	}
}

func TestACLIThatIsKilledForItsMemoryIsToldAsThat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "codex")
	if code := w.exit(w.pod(w.stub("kill -9 $$"))); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetReason() != reason.OOMKilled || !strings.Contains(r.GetSummary(), "memory") {
		t.Errorf("report %v, want %s", r, reason.OOMKilled)
	}
}
