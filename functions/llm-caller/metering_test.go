package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/price"
	"codexk8s.dev/shared/stage"
)

// upstream puts another server in OpenAI's place and returns the fixture.
func (f *fixture) upstream(h http.HandlerFunc) {
	f.t.Helper()
	server := httptest.NewServer(h)
	f.t.Cleanup(server.Close)
	base, err := url.Parse(server.URL + "/v1")
	if err != nil {
		f.t.Fatal(err)
	}
	f.h.base = base
}

// estimated says of each call whether its row is marked as an estimate.
func (f *fixture) estimated() (marks []bool) {
	f.t.Helper()
	if err := f.sql.QueryRow(f.t.Context(), `SELECT array_agg(estimated ORDER BY started_at) FROM llm_calls`).Scan(&marks); err != nil {
		f.t.Fatal(err)
	}
	return marks
}

// A part of an answer, and whether the connection breaks behind it.
type part struct {
	status      int
	contentType string
	headers     []string
	body        string
	breaks      bool
}

func (p part) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", p.contentType)
	for i := 0; i < len(p.headers); i += 2 {
		w.Header().Set(p.headers[i], p.headers[i+1])
	}
	w.WriteHeader(p.status)
	_, _ = io.WriteString(w, p.body)
	if p.breaks {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

const (
	streamed = "text/event-stream"
	said     = `data: {"type":"response.output_text.delta","delta":"word word word"}` + "\n\n"
	zeros    = `data: {"type":"response.created","response":{"id":"resp_1","status":"in_progress","model":"gpt-5.4","usage":{"input_tokens":0,"output_tokens":0}}}` + "\n\n"
	whole    = `{"id":"resp_1","status":"completed","model":"gpt-5.4","usage":{"input_tokens":1000,"output_tokens":100}}`
)

// TestNoCallIsFreeBecauseItsEndIsOdd holds for answers that say nothing of their use, or say it in an odd way, that the
// call is counted all the same: by what is said where that is a report, else by an estimate that is marked.
func TestNoCallIsFreeBecauseItsEndIsOdd(t *testing.T) {
	body := `{"model":"gpt-5.4","stream":true,"input":"` + strings.Repeat("words ", 2000) + `"}`
	about := int64(len(body) / 4)
	for name, c := range map[string]struct {
		answer        part
		status        int
		input, output int64
		estimated     bool
	}{
		"zeros and a break":    {part{200, streamed, nil, zeros + said, true}, 502, about, 4, true},
		"zeros and a good end": {part{200, streamed, nil, zeros + said, false}, 200, about, 4, true},
		"zeros at the end": {part{200, streamed, nil, said + `data: {"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":0,"output_tokens":0}}}` + "\n\n", false},
			200, about, 4, true},
		"figures, no end, a break": {part{200, streamed, nil, `data: {"response":{"status":"in_progress","usage":{"input_tokens":9000,"output_tokens":1}}}` + "\n\n" + said, true},
			502, 9000, 4, true},
		"nothing but [DONE]":       {part{200, streamed, nil, said + "data: [DONE]\n\n", false}, 200, about, 4, true},
		"failed in the stream":     {part{200, streamed, nil, said + `data: {"type":"response.failed","response":{"status":"failed","usage":null}}` + "\n\n", false}, 200, about, 4, true},
		"an empty answer":          {part{200, streamed, nil, "", false}, 200, about, 0, true},
		"a page":                   {part{200, "text/html", nil, strings.Repeat("<br>", 10), false}, 200, about, 10, true},
		"packed":                   {part{200, "application/json", []string{"Content-Encoding", "gzip"}, zipped(whole), false}, 200, 1000, 100, false},
		"packed in an unknown way": {part{200, "application/json", []string{"Content-Encoding", "br"}, strings.Repeat("\x8b", 40), false}, 200, about, 10, true},
		"texts for numbers":        {part{200, "application/json", nil, strings.NewReplacer("1000", "1000.0", "100}", `"100"}`).Replace(whole), false}, 200, 1000, 100, false},
		"a byte order mark":        {part{200, streamed, nil, "\ufeffdata: " + whole + "\n\n", false}, 200, 1000, 100, false},
		"lone CR":                  {part{200, streamed, nil, "event: x\rdata: " + whole + "\r\r", false}, 200, 1000, 100, false},
		"a proxy without patience": {part{504, "text/html", nil, "<html>", false}, 504, about, 0, true},
		"refused":                  {part{400, "application/json", nil, `{"error":{"message":"no"}}`, false}, 400, 0, 0, false},
		"refused and reported":     {part{400, "application/json", nil, `{"status":"failed","usage":{"input_tokens":9,"output_tokens":1}}`, false}, 400, 9, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.upstream(c.answer.ServeHTTP)
			_, _ = io.ReadAll(f.pod("/v1/responses", body).Body) // some answers break
			got := f.rows()[0]
			if got.Status != c.status || got.Input != c.input || got.Output != c.output || got.Cost != (got.Input*25+got.Output*150+5)/10 {
				t.Errorf("recorded %+v, want status %d, %d tokens in, %d out", got, c.status, c.input, c.output)
			}
			if free := got.Cost == 0; free != (c.input == 0) {
				t.Errorf("cost %d", got.Cost)
			}
			if diff := cmp.Diff([]bool{c.estimated}, f.estimated()); diff != "" {
				t.Errorf("marked as an estimate (-want +got):\n%s", diff)
			}
		})
	}
}

// TestATierCostsWhatWasAskedForUntilItIsSaid holds that a dearer tier is not had for less by leaving early.
func TestATierCostsWhatWasAskedForUntilItIsSaid(t *testing.T) {
	const report = `{"status":"completed","model":"gpt-5.4","service_tier":"default","usage":{"input_tokens":1000,"output_tokens":100}}`
	for name, c := range map[string]struct {
		answer part
		times  int64
	}{
		"broken off":        {part{200, streamed, nil, `data: {"response":{"status":"in_progress","service_tier":"auto"}}` + "\n\n" + said, true}, 2},
		"not said":          {part{200, "application/json", nil, whole, false}, 2},
		"another was given": {part{200, "application/json", nil, report, false}, 1},
	} {
		f := setup(t)
		f.upstream(c.answer.ServeHTTP)
		_, _ = io.ReadAll(f.pod("/v1/responses", `{"model":"gpt-5.4","stream":true,"service_tier":"priority","input":"`+strings.Repeat("words ", 2000)+`"}`).Body)
		if got := f.rows()[0]; got.Cost != (c.times*(got.Input*25+got.Output*150)+5)/10 {
			t.Errorf("%s: recorded %+v, want %d times the price", name, got, c.times)
		}
	}
}

// TestAnUnaskedGzipIsUnpacked holds that a pod that can't unpack gets an answer that it can read.
func TestAnUnaskedGzipIsUnpacked(t *testing.T) {
	f := setup(t)
	f.upstream(part{200, "application/json", []string{"Content-Encoding", "gzip"}, zipped(whole), false}.ServeHTTP)
	r, err := http.NewRequest(http.MethodPost, f.url+"/v1/responses", strings.NewReader(`{"model":"gpt-5.4","input":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token(t, nil))
	r.Header.Set("Accept-Encoding", "identity")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := text(t, res); got != whole || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("got %q as %q", got, res.Header.Get("Content-Encoding"))
	}
}

// TestPicturesAreCountedAsPictures holds that an estimate takes no picture for text.
func TestPicturesAreCountedAsPictures(t *testing.T) {
	f := setup(t)
	f.upstream(part{200, streamed, nil, said, true}.ServeHTTP)
	_, _ = io.ReadAll(f.pod("/v1/responses", `{"model":"gpt-5.4","stream":true,"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,`+
		strings.Repeat("iVBORw0K", 6<<20/8)+`"}]}]}`).Body)
	if got := f.rows()[0]; got.Input < tokensPerFile || got.Input > tokensPerFile+100 {
		t.Errorf("recorded %+v", got)
	}
}

// TestOneCallIsOneRow holds that what OpenAI has seen is written down as often as it has seen it, though connections
// are closed and the pod asks for repetition, and that no such call is free.
func TestOneCallIsOneRow(t *testing.T) {
	f := setup(t)
	calls := make(chan struct{}, 10)
	f.upstream(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		calls <- struct{}{}
		if len(calls) == 1 {
			_, _ = io.WriteString(w, whole) // the connection stays open
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	for range 2 {
		res := f.ask(f.url+"/v1/responses", token(t, nil), strings.NewReader(`{"model":"gpt-5.4","input":"hello"}`), "Idempotency-Key", "k1")
		_, _ = io.ReadAll(res.Body)
	}
	got := f.rows()
	if len(got) != len(calls) || len(got) != 2 || got[1].Status != 502 || got[1].Input == 0 || got[1].Cost == 0 {
		t.Errorf("OpenAI saw %d calls, recorded %+v", len(calls), got)
	}
	if diff := cmp.Diff([]bool{false, true}, f.estimated()); diff != "" {
		t.Errorf("marked as an estimate (-want +got):\n%s", diff)
	}
}

// TestALimitNamesItsWait holds that every client learns when to come back.
func TestALimitNamesItsWait(t *testing.T) {
	const limited = `{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}`
	f := setup(t)
	for name, c := range map[string]struct {
		headers []string
		body    string
		want    string
	}{
		"a reset":         {[]string{"X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "9.6s"}, limited, "10"},
		"in milliseconds": {[]string{"Retry-After-Ms", "1500"}, limited, "2"},
		"nothing":         {nil, limited, "30"},
		"a zero":          {[]string{"Retry-After", "0"}, limited, "30"},
		"words":           {nil, strings.Replace(limited, "reached", "reached. Please try again in 2m1s.", 1), "121"},
		"its own":         {[]string{"Retry-After", "7", "X-Ratelimit-Reset-Tokens", "9.6s"}, limited, "7"},
		"packed":          {[]string{"Content-Encoding", "gzip", "Retry-After-Ms", "3000"}, zipped(limited), "3"},
	} {
		f.upstream(part{429, "application/json", c.headers, c.body, false}.ServeHTTP)
		res := f.pod("/v1/responses", `{"model":"gpt-5.4","input":"x"}`)
		if got := res.Header.Get("Retry-After"); got != c.want || res.StatusCode != 429 || !strings.HasPrefix(text(t, res), `{"error"`) {
			t.Errorf("%s: got %d, Retry-After %q, want %q", name, res.StatusCode, got, c.want)
		}
	}
}

// TestHostedToolsAreAllowedByName holds that a project's settings open a tool that OpenAI runs, and that its fee is
// counted.
func TestHostedToolsAreAllowedByName(t *testing.T) {
	f := setup(t)
	f.exec(`UPDATE projects SET settings = '{"hostedTools": ["web_search", "mcp"]}'`)
	const ask = `{"model":"gpt-5.4","tools":[{"type":%q}],"input":"x"}`
	expectRefusal(t, "another tool", f.pod("/v1/responses", fmt.Sprintf(ask, "file_search")), 403, "tool_not_allowed", "file_search")
	expectRefusal(t, "a tool without a fee", f.pod("/v1/responses", fmt.Sprintf(ask, "mcp")), 403, "tool_not_allowed", "no fee")
	f.upstream(part{200, "application/json", nil, `{"output":[{"type":"web_search_call"},{"type":"web_search_call"}],` + whole[1:], false}.ServeHTTP)
	text(t, f.pod("/v1/responses", fmt.Sprintf(ask, "web_search_2025_08_26")))
	if got := f.rows()[0]; got.Cost != 1000*5/2+100*15+2*10_000 {
		t.Errorf("recorded %+v", got)
	}
}

// TestEveryModelHasAPrice holds that no model of the built-in process is used for nothing, at any service tier.
func TestEveryModelHasAPrice(t *testing.T) {
	prices, err := price.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range stage.Default().Models.Allowed {
		for _, tier := range []string{"", "auto", "default", "flex", "batch", "priority"} {
			if micro, known := prices.Cost(model, tier, price.Usage{Input: 1e6, Output: 1e6}); !known || micro <= 0 {
				t.Errorf("%s at tier %q: %d, %v", model, tier, micro, known)
			}
		}
	}
}
