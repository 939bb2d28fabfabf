package llm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sashabaranov/go-openai"

	"codexk8s.dev/test/fakes/model"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func TestClassify(t *testing.T) {
	head := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	body := func(kind, code string) string {
		return `{"error":{"message":"words","type":"` + kind + `","code":` + code + `}}`
	}
	for name, c := range map[string]struct {
		status int
		header http.Header
		body   string
		want   Failure
	}{
		"rate limit": {429, head("Retry-After", "20"), body("requests", `"rate_limit_exceeded"`),
			Failure{Kind: RateLimited, Code: "rate_limit_exceeded", Message: "words", RetryAfter: 20 * time.Second}},
		"in milliseconds": {429, head("Retry-After-Ms", "1500"), body("tokens", "null"),
			Failure{Kind: RateLimited, Code: "tokens", Message: "words", RetryAfter: 1500 * time.Millisecond}},
		"as a date": {429, head("Retry-After", "Mon, 23 Nov 2026 10:02:00 GMT"), "",
			Failure{Kind: RateLimited, RetryAfter: 2 * time.Minute}},
		"a date gone by": {429, head("Retry-After", "Mon, 23 Nov 2026 09:00:00 GMT"), "", Failure{Kind: RateLimited}},
		"only a reset": {429, head("X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "6m0s", "X-Ratelimit-Remaining-Requests", "5", "X-Ratelimit-Reset-Requests", "24h"),
			body("tokens", `"rate_limit_exceeded"`), Failure{Kind: RateLimited, Code: "rate_limit_exceeded", Message: "words", RetryAfter: 6 * time.Minute}},
		"a reset and no remainder": {429, head("X-Ratelimit-Reset-Tokens", "9.6s"), "", Failure{Kind: RateLimited, RetryAfter: 9600 * time.Millisecond}},
		"a reset in seconds":       {429, head("X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "7"), "", Failure{Kind: RateLimited, RetryAfter: 7 * time.Second}},
		"a reset as a time":        {429, head("X-Ratelimit-Reset", strconv.FormatInt(now.Add(time.Minute).UnixMilli(), 10)), "", Failure{Kind: RateLimited, RetryAfter: time.Minute}},
		"in Azure's words": {429, head(), `{"error":{"message":"Rate limit is exceeded. Try again in 17 seconds.","code":"too_many_requests"}}`,
			Failure{Kind: RateLimited, Code: "too_many_requests", Message: "Rate limit is exceeded. Try again in 17 seconds.", RetryAfter: 17 * time.Second}},
		"to be retried after": {429, head(), `{"error":{"message":"Please retry after 1 minute.","code":"429"}}`,
			Failure{Kind: RateLimited, Code: "429", Message: "Please retry after 1 minute.", RetryAfter: time.Minute}},
		"only in words": {429, head(), `{"error":{"message":"Rate limit reached. Please try again in 1m9.5s.","code":"rate_limit_exceeded"}}`,
			Failure{Kind: RateLimited, Code: "rate_limit_exceeded", Message: "Rate limit reached. Please try again in 1m9.5s.", RetryAfter: 69*time.Second + 500*time.Millisecond}},
		"nonsense headers": {429, head("Retry-After", "soon", "Retry-After-Ms", "-5", "X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "tomorrow"), "",
			Failure{Kind: RateLimited}},
		"too long a wait":  {429, head("Retry-After", "1e300"), "", Failure{Kind: RateLimited, RetryAfter: maxWait}},
		"not a number":     {429, head("Retry-After", "NaN"), "", Failure{Kind: RateLimited}},
		"quota":            {429, head(), body("insufficient_quota", `"insufficient_quota"`), Failure{Kind: QuotaExhausted, Code: "insufficient_quota", Message: "words"}},
		"quota by type":    {429, head(), body("insufficient_quota", "null"), Failure{Kind: QuotaExhausted, Code: "insufficient_quota", Message: "words"}},
		"key":              {401, head(), body("invalid_request_error", `"invalid_api_key"`), Failure{Kind: Permanent, Code: "invalid_api_key", Message: "words"}},
		"model":            {404, head("Retry-After", "9"), body("invalid_request_error", `"model_not_found"`), Failure{Kind: Permanent, Code: "model_not_found", Message: "words"}},
		"a number as code": {400, head(), body("x", `1210`), Failure{Kind: Permanent, Code: "1210", Message: "words"}},
		"conflict":         {409, head(), "", Failure{Kind: Temporary}},
		"server":           {500, head(), body("server_error", "null"), Failure{Kind: Temporary, Code: "server_error", Message: "words"}},
		"a proxy's page":   {502, head(), "<html>502</html>\n", Failure{Kind: Temporary, Message: "<html>502</html>"}},
		"overloaded":       {503, head("Retry-After", "3"), "", Failure{Kind: Temporary, RetryAfter: 3 * time.Second}},
	} {
		c.want.Status = c.status
		got := Classify(c.status, c.header, []byte(c.body), now)
		if diff := cmp.Diff(&c.want, got, cmpopts.IgnoreUnexported(Failure{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if f := Classify(500, nil, []byte(strings.Repeat("é", 5000)), now); len(f.Message) > maxMessage+3 {
		t.Errorf("a message of %d bytes", len(f.Message))
	}
}

// TestClient holds what a caller of go-openai learns of each way in which a call fails.
func TestClient(t *testing.T) {
	s := model.New(model.Options{})
	h := httptest.NewServer(s)
	defer h.Close()
	client := NewClient(model.DefaultKey, h.URL+"/v1/", h.Client(), func() time.Time { return now })
	request := openai.ChatCompletionRequest{Model: "gpt-5.4", Messages: []openai.ChatCompletionMessage{{Role: "user", Content: "Say hello"}}}
	ctx := context.Background()

	answer, err := client.CreateChatCompletion(ctx, request)
	if err != nil || !strings.HasPrefix(answer.Choices[0].Message.Content, "Say hello\n") {
		t.Fatalf("%+v, %v", answer, err)
	}
	for name, c := range map[string]struct {
		behave model.Behaviour
		change func(*openai.ChatCompletionRequest)
		want   Failure
	}{
		"rate limit": {model.Behaviour{Mode: model.RateLimited, RetryAfter: 7 * time.Second}, nil, Failure{Kind: RateLimited, Status: 429, Code: "rate_limit_exceeded", RetryAfter: 7 * time.Second}},
		"quota":      {model.Behaviour{Mode: model.QuotaExhausted}, nil, Failure{Kind: QuotaExhausted, Status: 429, Code: "insufficient_quota"}},
		"server":     {model.Behaviour{Mode: model.ServerError}, nil, Failure{Kind: Temporary, Status: 500, Code: "server_error"}},
		"proxy":      {model.Behaviour{Mode: model.BadGateway}, nil, Failure{Kind: Temporary, Status: 502}},
		"model":      {model.Behaviour{}, func(r *openai.ChatCompletionRequest) { r.Model = "gpt-2" }, Failure{Kind: Permanent, Status: 404, Code: "model_not_found"}},
		"unsent":     {model.Behaviour{}, func(r *openai.ChatCompletionRequest) { r.MaxTokens = 5 }, Failure{Kind: Permanent}}, //nolint:staticcheck // deprecated, so the client refuses it: that is the case
		"no server":  {model.Behaviour{}, nil, Failure{Kind: Temporary}},
	} {
		s.Behave(c.behave)
		ask := request
		if c.change != nil {
			c.change(&ask)
		}
		asked := client
		if name == "no server" {
			asked = NewClient("k", "http://127.0.0.1:1/v1", http.DefaultClient, time.Now)
		}
		_, err := asked.CreateChatCompletion(ctx, ask)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if diff := cmp.Diff(&c.want, AsFailure(err), cmpopts.IgnoreUnexported(Failure{}), cmpopts.IgnoreFields(Failure{}, "Message")); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if strings.Contains(err.Error(), model.DefaultKey) {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
	s.Reset()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := client.CreateChatCompletion(ended, request); AsFailure(err).Kind != Permanent || !errors.Is(AsFailure(err), context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
	s.Behave(model.Behaviour{Mode: model.FailedStream})
	request.Stream = true
	stream, err := client.CreateChatCompletionStream(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) || AsFailure(err).Kind != Temporary {
		t.Errorf("a failed stream: %v", err)
	}
}
