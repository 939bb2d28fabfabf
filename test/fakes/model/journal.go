package model

import (
	"net/http"
	"slices"
	"time"
)

// A Request is one model call as the server saw it.
type Request struct {
	At       time.Time   `json:"at"`
	Endpoint string      `json:"endpoint"` // "responses" or "chat"
	Header   http.Header `json:"-"`
	Body     []byte      `json:"-"`
	Key      string      `json:"-"` // the API key that was given
	Model    string      `json:"model"`
	Stream   bool        `json:"stream"`
	Script   string      `json:"script,omitempty"` // name of the script that answered
	Step     int         `json:"step"`             // tool results since the last user message
	Call     string      `json:"call,omitempty"`   // name of the tool that the answer calls; empty for a message
	Status   int         `json:"status"`           // 0 when the request could not be read
	Input    int64       `json:"inputTokens"`
	Output   int64       `json:"outputTokens"`
}

func (s *Server) record(x *exchange) {
	key := ""
	if auth := x.r.Header.Get("Authorization"); len(auth) > len("Bearer ") {
		key = auth[len("Bearer "):]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, Request{
		At: s.now(), Endpoint: x.endpoint, Header: x.r.Header.Clone(), Body: x.body, Key: key, Model: x.model, Stream: x.stream,
		Script: x.script, Step: x.turn.step, Call: x.turn.tool, Status: x.status, Input: x.usage.input, Output: x.usage.output,
	})
}

// Requests returns all model calls so far, in the order in which they ended.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// Reset forgets the journal and goes back to normal behaviour.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal, s.behaviour = nil, Behaviour{}
}

func (s *Server) controlRequests(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Requests())
}

func (s *Server) controlReset(w http.ResponseWriter, _ *http.Request) {
	s.Reset()
	w.WriteHeader(http.StatusNoContent)
}
