// Package model is OpenAI as far as the platform and its agents can see it: a server for tests and for trying the
// platform out without an account. It speaks POST /v1/responses and POST /v1/chat/completions (whole or streamed) and
// GET /v1/models, asks for a known API key, and answers mistakes with OpenAI's status codes and error bodies.
//
// Behind it is no model but a script (script.go): what to do is worked out from the request alone. The task is read
// from the user's messages, the progress from the number of tool results that follow the last of them, the means from
// the tools that the request offers. So the server keeps no conversation, a conversation resumed elsewhere goes on
// where it was, and every conversation comes to an end. The work is truly done, by the agent's own tools: the Codex CLI
// is told to run shell commands, the builtin engine to call write_file and run.
//
// Equal requests get equal answers, usage figures included. What a real service also does, be slow, refuse, break off,
// is switched on by Behave or over HTTP (behaviour.go), and a journal of all requests is kept for assertions
// (journal.go).
//
//	POST   /control/behaviour   a Behaviour as JSON
//	GET    /control/requests    the journal as JSON, without request bodies
//	DELETE /control/requests    forget the journal and the behaviour
//
// The streams follow https://platform.openai.com/docs/api-reference/responses-streaming and …/chat-streaming.
package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultKey is the API key that a server with no Options.Keys accepts.
const DefaultKey = "sk-fake"

// DefaultModels are the models that a server with no Options.Models knows.
var DefaultModels = []string{
	"gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.3-codex", "gpt-5.2-codex", "gpt-5.2", "gpt-5.1-codex-max",
	"gpt-5.1-codex-mini", "gpt-5-mini", "gpt-5-nano",
}

// maxBody is the largest request body that is read, as large as the platform's gateway lets through.
const maxBody = 32 << 20

// Options say what a Server knows. The zero value is a working server.
type Options struct {
	Keys    []string // API keys that are accepted; none means DefaultKey
	Models  []string // models that exist; none means DefaultModels
	Scripts []Script // asked in order before the default script
	Now     func() time.Time
}

// A Server is an http.Handler that answers as OpenAI would. Its methods may be called at any time from any goroutine.
type Server struct {
	keys    []string
	models  []string
	scripts []Script
	now     func() time.Time
	routes  *http.ServeMux

	mu        sync.Mutex
	behaviour Behaviour
	journal   []Request
}

// New returns a server that behaves well.
func New(o Options) *Server {
	s := &Server{keys: o.Keys, models: o.Models, now: o.Now, routes: http.NewServeMux()}
	if len(s.keys) == 0 {
		s.keys = []string{DefaultKey}
	}
	if len(s.models) == 0 {
		s.models = DefaultModels
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.scripts = append(slices.Clone(o.Scripts), reviewScript, issueScript)
	s.routes.HandleFunc("POST /v1/responses", s.metered("responses", s.responses))
	s.routes.HandleFunc("POST /v1/chat/completions", s.metered("chat", s.chat))
	s.routes.HandleFunc("GET /v1/models", s.listModels)
	s.routes.HandleFunc("POST /control/behaviour", s.controlBehaviour)
	s.routes.HandleFunc("GET /control/requests", s.controlRequests)
	s.routes.HandleFunc("DELETE /control/requests", s.controlReset)
	s.routes.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, apiError{Type: "invalid_request_error",
			Message: "Invalid URL (" + r.Method + " " + r.URL.Path + ")"})
	})
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// metered does what all model calls have in common: key, body, journal and the present behaviour.
func (s *Server) metered(endpoint string, answer func(*exchange)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		x := &exchange{s: s, r: r, body: body, endpoint: endpoint, status: http.StatusOK}
		x.w = &counting{ResponseWriter: w, x: x}
		w.Header().Set("X-Request-Id", "req_"+x.digest(32))
		defer func() { s.record(x) }()
		switch tooLarge := (*http.MaxBytesError)(nil); {
		case errors.As(err, &tooLarge):
			fail(x.w, http.StatusRequestEntityTooLarge, apiError{Type: "invalid_request_error", Message: "Request body too large."})
			return
		case err != nil:
			x.status = 0
			return
		case !s.authorized(x.w, r):
			return
		}
		rateHeaders(w.Header(), 499, 149_000, "120ms", "400ms")
		x.behaviour = s.behave(endpoint)
		if x.behaviour.refuse(x.w) {
			return
		}
		answer(x)
	}
}

// authorized checks the API key and answers 401 itself when it is missing or unknown.
func (s *Server) authorized(w http.ResponseWriter, r *http.Request) bool {
	key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || key == "" {
		fail(w, http.StatusUnauthorized, apiError{Type: "invalid_request_error",
			Message: "You didn't provide an API key. Provide it in an Authorization header using Bearer auth."})
		return false
	}
	if !slices.Contains(s.keys, key) {
		fail(w, http.StatusUnauthorized, apiError{Type: "invalid_request_error", Code: "invalid_api_key",
			Message: "Incorrect API key provided: " + masked(key) + "."})
		return false
	}
	return true
}

// masked shows as much of a key as OpenAI's error messages do.
func masked(key string) string {
	if len(key) < 12 {
		return "***"
	}
	return key[:3] + "***" + key[len(key)-4:]
}

// known answers 400 or 404 itself when the model is missing or does not exist.
func (s *Server) known(w http.ResponseWriter, name string) bool {
	if name == "" {
		fail(w, http.StatusBadRequest, apiError{Type: "invalid_request_error", Code: "missing_required_parameter", Param: "model",
			Message: "Missing required parameter: 'model'."})
		return false
	}
	if !slices.Contains(s.models, name) {
		fail(w, http.StatusNotFound, apiError{Type: "invalid_request_error", Code: "model_not_found",
			Message: "The model `" + name + "` does not exist or you do not have access to it."})
		return false
	}
	return true
}

func (s *Server) listModels(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	type entry struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	list := make([]entry, 0, len(s.models))
	for _, m := range s.models {
		list = append(list, entry{ID: m, Object: "model", Created: 1_760_000_000, OwnedBy: "openai"})
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": list})
}

// An exchange is one request on its way through the server, and what the journal will say of it.
type exchange struct {
	s         *Server
	w         http.ResponseWriter
	r         *http.Request
	body      []byte
	endpoint  string
	behaviour Behaviour

	model, script string
	stream        bool
	turn          turn
	status        int
	usage         usage
}

// digest is a piece of the body's hash, as random as an id has to look and the same for the same request.
func (x *exchange) digest(n int) string {
	sum := sha256.Sum256(append([]byte(x.endpoint), x.body...))
	return hex.EncodeToString(sum[:])[:n]
}

// decode reads the body into v, or answers 400.
func (x *exchange) decode(v any) bool {
	err := json.Unmarshal(x.body, v)
	if err == nil {
		return true
	}
	e := apiError{Type: "invalid_request_error", Message: "We could not parse the JSON body of your request: " + err.Error() + "."}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		e.Message = "Invalid type for '" + wrong.Field + "': got " + wrong.Value + "."
		e.Code, e.Param = "invalid_type", wrong.Field
	}
	fail(x.w, http.StatusBadRequest, e)
	return false
}

// counting notes the status that was answered.
type counting struct {
	http.ResponseWriter
	x *exchange
}

func (c *counting) WriteHeader(status int) {
	c.x.status = status
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach Flush.
func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// apiError is OpenAI's error object. An empty Code or Param is null on the wire.
type apiError struct{ Message, Type, Param, Code string }

// MarshalJSON gives the wire form.
func (e apiError) MarshalJSON() ([]byte, error) {
	null := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return json.Marshal(map[string]any{"message": e.Message, "type": e.Type, "param": null(e.Param), "code": null(e.Code)})
}

func fail(w http.ResponseWriter, status int, e apiError) {
	writeJSON(w, status, map[string]any{"error": e})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may have gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}
