package llm

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sashabaranov/go-openai"
)

// NewClient returns a client for the API at baseURL ("https://api.openai.com/v1"). An answer with an error status makes
// the call return a *Failure, which holds the wait that OpenAI asked for; AsFailure makes one of every other error.
// There are no retries: the caller decides. now is the clock for a Retry-After that is a date.
func NewClient(key, baseURL string, h *http.Client, now func() time.Time) *openai.Client {
	config := openai.DefaultConfig(key)
	config.BaseURL = strings.TrimRight(baseURL, "/")
	config.HTTPClient = doer{h, now}
	return openai.NewClientWithConfig(config)
}

// doer sends requests and turns error answers into errors before go-openai reads them and drops the headers. It
// replaces the client and not the transport, because a transport must not interpret answers.
type doer struct {
	client *http.Client
	now    func() time.Time
}

// maxErrorBody bounds how much of an error answer is read, in bytes.
const maxErrorBody = 64 << 10

// Do implements openai.HTTPDoer.
func (d doer) Do(r *http.Request) (*http.Response, error) {
	res, err := d.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("calling the model: %w", err)
	}
	if res.StatusCode < http.StatusBadRequest {
		return res, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil {
		return nil, fmt.Errorf("reading the model's error: %w", err)
	}
	return nil, Classify(res.StatusCode, res.Header, body, d.now())
}
