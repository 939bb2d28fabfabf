package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
)

// refusal is an answer to a pod that is not OpenAI's, in OpenAI's form, so that every client understands it.
type refusal struct {
	status               int
	code, param, message string
	after                time.Duration // when to come back; 0 = five seconds after 503, else not said
	waits                string        // the run, if it waits for people: its pod is to end, and another one goes on
}

func (r refusal) Error() string { return r.message }

// refuse answers with the refusal inside err. Any other error is ours, the database's or OpenAI's absence: its details
// go into the log and the pod is asked to come back.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	answer := refusal{}
	switch {
	case errors.As(err, &answer):
		slog.InfoContext(r.Context(), "model call refused", "path", r.URL.Path, "status", answer.status, "code", answer.code, "message", answer.message)
	case r.Context().Err() != nil:
		return // nobody is there to be told
	case events.Unstorable(err):
		slog.WarnContext(r.Context(), "model call holds what can't be stored", "path", r.URL.Path, "error", err)
		answer = refusal{status: http.StatusUnprocessableEntity, code: "unstorable", message: "the request holds what can't be stored"}
	default:
		slog.ErrorContext(r.Context(), "model call failed", "path", r.URL.Path, "error", err)
		answer = refusal{status: http.StatusServiceUnavailable, code: "unavailable", message: "the platform cannot call the model now, try again"}
	}
	if answer.status == http.StatusServiceUnavailable && answer.after == 0 {
		answer.after = 5 * time.Second
	}
	if answer.after > 0 {
		w.Header().Set("Retry-After", seconds(answer.after))
	}
	if answer.waits != "" {
		w.Header().Set(agentapi.WaitsHeader, answer.waits)
	}
	kind := "invalid_request_error"
	if answer.status >= http.StatusInternalServerError {
		kind = "server_error"
	}
	writeJSON(w, answer.status, map[string]any{"error": map[string]any{
		"message": answer.message, "type": kind, "param": orNull(answer.param), "code": orNull(answer.code)}})
}

// seconds is a wait as Retry-After has it, rounded up.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The pod may have gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}

// sentOn says whether a header of the pod is sent to OpenAI. Not sent are the run token, cookies, whatever would choose
// the organisation or project that pays, and Idempotency-Key, with which Go's transport would repeat a call that it had
// sent:
// https://pkg.go.dev/net/http#Transport
func sentOn(name string) bool {
	return strings.HasPrefix(name, "X-Codex-") || slices.Contains([]string{
		"Accept", "User-Agent", "Originator", "Openai-Beta", "Session-Id", "Thread-Id", "X-Client-Request-Id",
	}, name)
}

// passHeaders copies the headers of OpenAI's answer that are about the call, without cookies and the organisation.
func passHeaders(to, from http.Header) {
	for name, values := range from {
		switch name {
		case "Content-Type", "Content-Length", "Content-Encoding", "Cache-Control", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "X-Request-Id",
			"Openai-Processing-Ms", "Openai-Version", "Openai-Model":
			to[name] = values
		default:
			if strings.HasPrefix(name, "X-Ratelimit-") || strings.HasPrefix(name, "X-Codex-") {
				to[name] = values
			}
		}
	}
}
