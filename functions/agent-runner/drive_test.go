package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	openai "github.com/sashabaranov/go-openai"

	"codexk8s.dev/shared/agentapi"
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
			w := newWorld(t, c.engine)
			var calls atomic.Int32
			w.answering(func(rw http.ResponseWriter, _ string) bool { return calls.Add(1) <= maxCrashes+1 && c.busy(rw) })
			if code := w.exit(w.pod(append(w.codex(), "RETRY_FOR=5m")...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
		})
	}
}

// "Retry-After: 0" is no invitation to call without end, and the wait has an end.
func TestNoWaitAtAllIsNotBelieved(t *testing.T) {
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		rw.Header().Set("Retry-After", "0")
		said(rw, 429, "rate_limit_exceeded")
	}))
	defer s.Close()
	l, err := newLine(env{Places: Places{LLMURL: s.URL}, RetryFor: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: l}).Post(s.URL+"/responses", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 429 || calls.Load() > 8 || calls.Load() < 2 {
		t.Errorf("%s after %d calls", res.Status, calls.Load())
	}
	if failure, since, answered := l.state(); failure == nil || failure.Code != "rate_limit_exceeded" || since.IsZero() || answered != 0 {
		t.Errorf("the line's state is %v, %v, %d", failure, since, answered)
	}
}

// A conversation that the model refuses is left: the next one has the task and the files, and nothing of the old one is
// stored again.
func TestARefusedConversationIsBegunAnew(t *testing.T) {
	const first = "implement issue" // of the first run's opening
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
			stored, err := decodeSnapshot(w.gateway.snapshot.GetData())
			if err != nil || bytes.Contains(stored.Memory, []byte(first)) || !bytes.Contains(stored.Memory, []byte("would not go on with")) {
				t.Errorf("the refused conversation is stored again, %v", err)
			}
		})
	}
}

// When the first request of a new conversation is refused, another conversation would be refused as well.
func TestARefusedTaskIsFinal(t *testing.T) {
	for _, engine := range []string{"builtin", "codex"} {
		w := newWorld(t, engine)
		var calls atomic.Int32
		w.answering(func(rw http.ResponseWriter, _ string) bool { calls.Add(1); return said(rw, 400, "invalid_prompt") })
		if code := w.exit(w.pod(w.codex()...)); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if r := w.gateway.report(); r.GetReason() != reasonEngine || !strings.Contains(r.GetSummary(), "invalid_prompt") {
			t.Errorf("%s: report %v", engine, r)
		}
		if calls.Load() > 2 {
			t.Errorf("%s: %d calls", engine, calls.Load())
		}
	}
}

// stub is a Codex CLI that is a shell script.
func (w *world) stub(script string) string {
	file := filepath.Join(w.dir, "codex")
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho '{\"type\":\"thread.started\",\"thread_id\":\"0192-abcdef01\"}'\n"+script), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return "CODEX_BIN=" + file
}

func TestACompletedTurnIsKeptHoweverTheCLIEnds(t *testing.T) {
	for _, end := range []string{"exit 1", "kill -9 $$", "kill -SEGV $$"} {
		w := newWorld(t, "codex")
		cli := w.stub("mkdir -p greetings; echo Bonjour >greetings/french.txt\n" +
			"echo '{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",\"text\":\"Said.\"}}'\necho '{\"type\":\"turn.completed\"}'\n" + end)
		if code := w.exit(w.pod(cli)); code != 0 {
			t.Fatalf("%s: exit code %d", end, code)
		}
		w.finishedOnce()
	}
}

func TestACLIThatIsKilledForItsMemoryIsToldAsThat(t *testing.T) {
	w := newWorld(t, "codex")
	if code := w.exit(w.pod(w.stub("kill -9 $$"))); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetReason() != reasonOOM || !strings.Contains(r.GetSummary(), "memory") {
		t.Errorf("report %v, want %s", r, reasonOOM)
	}
}

func TestACommandsOutputIsKeptWhatEverItLeavesRunning(t *testing.T) {
	tools := &toolbox{dir: t.TempDir()}
	got, err := tools.run(t.Context(), "echo server on port 3000; sleep 30 & echo done")
	if want := "server on port 3000\ndone\n[what the command left running goes on, and its output is not shown]\n[exit code 0]"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if got, err = tools.run(t.Context(), "echo dying; kill -9 $$"); err != nil || got != "dying\n[ended by signal: killed]" {
		t.Errorf("%q, %v", got, err)
	}
}

// However much a command prints, what is kept of it is bounded, and its two ends are there.
func TestOutputIsBoundedInMemory(t *testing.T) {
	var out output
	line := []byte(strings.Repeat("x", 1023) + "\n")
	_, _ = out.Write([]byte("first\n"))
	for range 64 << 10 {
		if n, err := out.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		if kept := cap(out.head) + cap(out.tail); kept > 1<<20 {
			t.Fatalf("%d bytes are kept", kept)
		}
	}
	_, _ = out.Write([]byte("last\n"))
	text := out.text()
	if !strings.HasPrefix(text, "first\n") || !strings.HasSuffix(text, "last\n") || len(text) > 2*maxToolOutput || !strings.Contains(text, "bytes left out]") {
		t.Errorf("%d bytes: %.40q … %q", len(text), text, text[len(text)-40:])
	}
}

// An event of the CLI that is longer than what is kept costs no more than that, and the next one is read.
func TestAnEndlessEventIsLeftOut(t *testing.T) {
	var lengths []int
	read(io.MultiReader(strings.NewReader("{}\n"), io.LimitReader(endless{}, 64<<20), strings.NewReader("\n{}")), func(line []byte) { lengths = append(lengths, len(line)) })
	if len(lengths) != 3 || lengths[1] > maxCodexLine || lengths[2] != 2 {
		t.Errorf("events of %v bytes", lengths)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestArgumentsOfToolsCountInAHistory(t *testing.T) {
	call := openai.ToolCall{ID: "1", Function: openai.FunctionCall{Name: "write_file", Arguments: strings.Repeat("x", maxHistory/2)}}
	var messages []openai.ChatCompletionMessage
	for range 4 {
		messages = append(messages, openai.ChatCompletionMessage{Role: "assistant", ToolCalls: []openai.ToolCall{call}}, toolResult(call, "wrote"))
	}
	total := 0
	got := shortened(messages)
	for _, m := range got {
		total += size(m)
	}
	if total > maxHistory || got[6].ToolCalls[0].Function.Arguments != call.Function.Arguments || messages[0].ToolCalls[0].Function.Arguments != call.Function.Arguments {
		t.Errorf("a history of %d bytes, or the newest call was shortened, or the history itself", total)
	}
}
