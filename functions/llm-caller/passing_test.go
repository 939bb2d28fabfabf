package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/test/fakes/model"
)

// TestAnswersPassUnchanged holds for every form of answer that the pod gets OpenAI's bytes, and that the call is
// recorded with what it used and cost.
func TestAnswersPassUnchanged(t *testing.T) {
	for name, c := range map[string]struct {
		path, body, sent string // what the pod sends, and what OpenAI gets
		want             row
	}{
		"responses": {"responses", `{"model":"gpt-5.4","store":false,"input":"hi"}`, `{"model":"gpt-5.4","store":false,"input":"hi"}`,
			row{runID, "gpt-5.4", "responses", 200, 12, 0, 89, 64, 12*25/10 + 89*15, "resp_"}},
		"responses, streamed": {"responses", `{"model":"gpt-5.4","input":"hi","stream":true}`, `{"store":false,"model":"gpt-5.4","input":"hi","stream":true}`,
			row{runID, "gpt-5.4", "responses", 200, 15, 0, 89, 64, 15*25/10 + 1 + 89*15, "resp_"}},
		"chat": {"chat/completions", `{"model":"gpt-5.4","messages":[{"role":"user","content":"hi"}]}`, `{"model":"gpt-5.4","messages":[{"role":"user","content":"hi"}]}`,
			row{runID, "gpt-5.4", "chat/completions", 200, 16, 0, 89, 64, 16*25/10 + 89*15, "chatc"}},
		"chat, streamed without usage": {"chat/completions", `{"model":"gpt-5.4","stream":true,"messages":[{"role":"user","content":"hi"}]}`,
			`{"stream_options":{"include_usage":true},"model":"gpt-5.4","stream":true,"messages":[{"role":"user","content":"hi"}]}`,
			row{runID, "gpt-5.4", "chat/completions", 200, 30, 0, 89, 64, 30*25/10 + 89*15, "chatc"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			direct := f.ask(f.direct+"/v1/"+c.path, openAIKey, strings.NewReader(c.sent))
			want := text(t, direct)
			f.openai.Reset()

			res := f.pod("/v1/"+c.path, c.body)
			if diff := cmp.Diff(want, text(t, res)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			for _, name := range []string{"Content-Type", "X-Request-Id", "X-Ratelimit-Remaining-Requests"} {
				if got := res.Header.Get(name); got == "" || got != direct.Header.Get(name) {
					t.Errorf("%s: got %q, want %q", name, got, direct.Header.Get(name))
				}
			}
			if diff := cmp.Diff([]row{c.want}, f.rows()); diff != "" {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
			asked := f.openai.Requests()[0]
			if asked.Key != openAIKey || string(asked.Body) != c.sent {
				t.Errorf("OpenAI got key %q and %s", asked.Key, asked.Body)
			}
			seen := []string{asked.Header.Get("X-Codex-Window-Id"), asked.Header.Get("Cookie"), asked.Header.Get("Openai-Organization"), asked.Header.Get("Accept-Encoding")}
			if diff := cmp.Diff([]string{"w1", "", "", "identity"}, seen); diff != "" {
				t.Errorf("headers at OpenAI (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorsPassUnchanged(t *testing.T) {
	f := setup(t)
	const body = `{"model":"gpt-5.4","input":"hi","stream":true}`
	for _, mode := range []model.Mode{model.RateLimited, model.ServerError, model.Overloaded, model.BadGateway} {
		f.openai.Behave(model.Behaviour{Mode: mode})
		direct := f.ask(f.direct+"/v1/responses", openAIKey, strings.NewReader(body))
		res := f.pod("/v1/responses", body)
		if diff := cmp.Diff(text(t, direct), text(t, res)); diff != "" || direct.StatusCode != res.StatusCode {
			t.Errorf("%s: got %d, want %d (-want +got):\n%s", mode, res.StatusCode, direct.StatusCode, diff)
		}
		for _, name := range []string{"Retry-After", "Retry-After-Ms", "X-Ratelimit-Reset-Requests", "Content-Type"} {
			if got, want := res.Header.Get(name), direct.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", mode, name, got, want)
			}
		}
	}
	var got []int
	for _, r := range f.rows() {
		got = append(got, r.Status)
		if r.Cost != 0 || r.Input != 0 {
			t.Errorf("status %d: %d input tokens, cost %d, want nothing", r.Status, r.Input, r.Cost)
		}
	}
	if diff := cmp.Diff([]int{429, 500, 503, 502}, got); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

func TestTroubleOfThePlatformIsNotThePods(t *testing.T) {
	f := setup(t)
	const body = `{"model":"gpt-5.4","input":"hi"}`
	f.h.apiKey = "sk-revoked-0000000"
	res := f.pod("/v1/responses", body)
	expectRefusal(t, "our key is refused", res, 502, "upstream_key_refused", "administrator")
	f.h.apiKey = openAIKey

	f.h.base.Host = "127.0.0.1:1"
	res = f.pod("/v1/responses", body)
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	expectRefusal(t, "OpenAI is away", res, 503, "unavailable")
	want := []row{{runID, "gpt-5.4", "responses", 401, 0, 0, 0, 0, 0, ""}, {runID, "gpt-5.4", "responses", 502, 0, 0, 0, 0, 0, ""}}
	if diff := cmp.Diff(want, f.rows()); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}

	f.openai.Reset()
	f.exec(`ALTER TABLE llm_calls RENAME TO elsewhere`)
	expectRefusal(t, "it cannot be written down", f.pod("/v1/responses", body), 503, "unavailable")
	if got := f.openai.Requests(); len(got) != 0 {
		t.Errorf("a call that could not be written down was made")
	}
}

// TestEachPiecePassesWhenItComes holds that the pod has the first event while OpenAI still works on the next.
func TestEachPiecePassesWhenItComes(t *testing.T) {
	f := setup(t)
	f.openai.Behave(model.Behaviour{Mode: model.Slow, Delay: 100 * time.Millisecond})
	res := f.pod("/v1/responses", `{"model":"gpt-5.4","input":"hi","stream":true}`)
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || line != "event: response.created\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if n := len(f.openai.Requests()); n != 0 {
		t.Error("OpenAI had finished when the first event came")
	}
}

// TestAPodThatLeavesIsRecorded holds that leaving in the middle ends the call at OpenAI and is charged by estimate.
func TestAPodThatLeavesIsRecorded(t *testing.T) {
	f := setup(t)
	f.openai.Behave(model.Behaviour{Mode: model.Slow, Delay: 30 * time.Millisecond})
	for path, body := range map[string]string{
		"responses":        `{"model":"gpt-5.4","stream":true,"input":"` + strings.Repeat("words ", 2000) + `"}`,
		"chat/completions": `{"model":"gpt-5.4","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("words ", 2000) + `"}]}`,
	} {
		f.exec(`DELETE FROM llm_calls`)
		f.openai.Reset()
		f.openai.Behave(model.Behaviour{Mode: model.Slow, Delay: 30 * time.Millisecond})
		res := f.pod("/v1/"+path, body)
		pieces := bufio.NewScanner(res.Body)
		for n := 0; n < 4 && pieces.Scan(); {
			if strings.Contains(pieces.Text(), `"delta":`) {
				n++
			}
		}
		res.Body.Close()
		got := f.rows()[0]
		if got.Status != statusClientGone || got.Input < 3000 || got.Output < 1 || got.Cost < got.Input*5/2 || got.Response == "" {
			t.Errorf("%s: recorded %+v", path, got)
		}
		deadline := time.Now().Add(5 * time.Second)
		for len(f.openai.Requests()) == 0 && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if len(f.openai.Requests()) == 0 {
			t.Errorf("%s: OpenAI goes on for nobody", path)
		}
	}
}

// TestABrokenAnswerIsSeenAsBroken holds that the pod does not take half an answer for a whole one.
func TestABrokenAnswerIsSeenAsBroken(t *testing.T) {
	f := setup(t)
	f.openai.Behave(model.Behaviour{Mode: model.Cut})
	res := f.pod("/v1/responses", `{"model":"gpt-5.4","input":"hi","stream":true}`)
	b, err := io.ReadAll(res.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(string(b), "response.created") {
		t.Errorf("got %q and %v, want a part and an unexpected end", b, err)
	}
	got := f.rows()[0]
	if got.Status != 502 || got.Input != 11 || got.Response != "resp_" {
		t.Errorf("recorded %+v", got)
	}
}
