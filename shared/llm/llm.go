// Package llm has the parts of the platform's gateway to OpenAI.
//
//   - Inspect reads from a request body what the gateway needs to decide: the model, and the tools that OpenAI would
//     run. It refuses what it does not know. Request.Sealed makes OpenAI keep nothing, and report its usage.
//   - Meter watches an answer go by, JSON or server-sent events, and knows afterwards what it used. It holds no part of
//     the answer: its size is fixed, whatever passes.
//   - Pass copies an answer to the client, each piece as it comes, through a Meter.
//   - Classify says of an error answer whether waiting, paying or repeating would help, and how long to wait.
//   - NewClient is a go-openai client whose errors are Failures, with the waiting time that go-openai alone would lose.
//
// Both APIs are understood, Responses and Chat Completions; they name the same things differently:
// https://platform.openai.com/docs/api-reference/responses/object and …/chat/object.
package llm

import (
	"net"
	"net/http"
	"time"
)

// NewTransport is for calls to OpenAI: the answer's head may take as long as a model thinks (patience), its body as
// long as the caller's context allows. Bodies are never compressed, so that each piece passes as it comes and a Meter
// can read it.
func NewTransport(patience time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: patience,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true,
	}
}
