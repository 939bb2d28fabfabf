package model

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// A Mode is a way in which a model service behaves.
type Mode string

// The modes. In each refusing mode nothing is worked out and no tokens are used.
const (
	Normal         Mode = ""                // answers
	RateLimited    Mode = "rate_limited"    // 429 rate_limit_exceeded with Retry-After and the x-ratelimit headers
	QuotaExhausted Mode = "quota_exhausted" // 429 insufficient_quota, without Retry-After, as OpenAI does
	ServerError    Mode = "server_error"    // 500 with OpenAI's JSON error
	Overloaded     Mode = "overloaded"      // 503 with Retry-After
	BadGateway     Mode = "bad_gateway"     // 502 with an HTML page, as a proxy in front of the service does
	Slow           Mode = "slow"            // answers, with Delay before the head and before each event
	Cut            Mode = "cut"             // begins to answer and breaks the connection off half way
	FailedStream   Mode = "failed_stream"   // answers 200, then says in the stream that it failed
)

// Behaviour is how the next model calls go. As JSON, durations are in nanoseconds.
type Behaviour struct {
	Mode       Mode          `json:"mode"`
	Endpoint   string        `json:"endpoint,omitempty"`   // "responses" or "chat"; empty means both
	Times      int           `json:"times,omitempty"`      // how many calls, then Normal again; 0 means until changed
	RetryAfter time.Duration `json:"retryAfter,omitempty"` // of RateLimited and Overloaded; 0 means 20 s
	Delay      time.Duration `json:"delay,omitempty"`      // of Slow; 0 means 50 ms
}

// Behave sets how the next model calls go.
func (s *Server) Behave(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b
}

// behave returns the behaviour for one call and counts it.
func (s *Server) behave(endpoint string) Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.behaviour
	if b.Mode == Normal || (b.Endpoint != "" && b.Endpoint != endpoint) {
		return Behaviour{}
	}
	if b.Times > 0 {
		s.behaviour.Times--
		if s.behaviour.Times == 0 {
			s.behaviour = Behaviour{}
		}
	}
	return b
}

// refuse answers for a mode that refuses, and says whether it did.
func (b Behaviour) refuse(w http.ResponseWriter) bool {
	wait := b.RetryAfter
	if wait == 0 {
		wait = 20 * time.Second
	}
	seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
	switch b.Mode {
	case RateLimited:
		rateHeaders(w.Header(), 0, 149_000, wait.String(), "400ms")
		w.Header().Set("Retry-After", seconds)
		w.Header().Set("Retry-After-Ms", strconv.FormatInt(wait.Milliseconds(), 10))
		fail(w, http.StatusTooManyRequests, apiError{Type: "requests", Code: "rate_limit_exceeded",
			Message: "Rate limit reached on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in " + wait.String() + "."})
	case QuotaExhausted:
		fail(w, http.StatusTooManyRequests, apiError{Type: "insufficient_quota", Code: "insufficient_quota",
			Message: "You exceeded your current quota, please check your plan and billing details."})
	case ServerError:
		fail(w, http.StatusInternalServerError, apiError{Type: "server_error",
			Message: "The server had an error processing your request. Sorry about that! You can retry your request."})
	case Overloaded:
		w.Header().Set("Retry-After", seconds)
		fail(w, http.StatusServiceUnavailable, apiError{Type: "server_error", Code: "server_overloaded",
			Message: "The engine is currently overloaded, please try again later."})
	case BadGateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"))
	default:
		return false
	}
	return true
}

// pause is the wait before each piece of an answer; it ends early when the client leaves.
func (b Behaviour) pause(r *http.Request) {
	if b.Mode != Slow {
		return
	}
	delay := b.Delay
	if delay == 0 {
		delay = 50 * time.Millisecond
	}
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
	}
}

// rateHeaders sets the headers of https://platform.openai.com/docs/guides/rate-limits. Resets are durations like
// "1m30s".
func rateHeaders(h http.Header, requests, tokens int, resetRequests, resetTokens string) {
	h.Set("X-Ratelimit-Limit-Requests", "500")
	h.Set("X-Ratelimit-Limit-Tokens", "150000")
	h.Set("X-Ratelimit-Remaining-Requests", strconv.Itoa(requests))
	h.Set("X-Ratelimit-Remaining-Tokens", strconv.Itoa(tokens))
	h.Set("X-Ratelimit-Reset-Requests", resetRequests)
	h.Set("X-Ratelimit-Reset-Tokens", resetTokens)
}

func (s *Server) controlBehaviour(w http.ResponseWriter, r *http.Request) {
	var b Behaviour
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&b); err != nil {
		fail(w, http.StatusBadRequest, apiError{Type: "invalid_request_error", Message: "behaviour: " + err.Error()})
		return
	}
	switch b.Mode {
	case Normal, RateLimited, QuotaExhausted, ServerError, Overloaded, BadGateway, Slow, Cut, FailedStream:
	default:
		fail(w, http.StatusBadRequest, apiError{Type: "invalid_request_error", Message: "behaviour: there is no mode " + strconv.Quote(string(b.Mode))})
		return
	}
	s.Behave(b)
	w.WriteHeader(http.StatusNoContent)
}
