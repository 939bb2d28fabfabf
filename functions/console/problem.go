package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/store"
)

// A problem is why a request was refused, in the form of RFC 9457. What can be said about all of its kind is in package
// page, in both languages, under the slug.
type problem struct {
	slug   string
	detail string // about the case at hand; "" = there is nothing to add
	at     string // which part of the request, a JSON pointer or the name of a parameter
	reason string // of a command that does nothing, of package reason
}

func (p problem) Error() string { return p.slug + ": " + p.detail }

// problemOf tells what an error is to the caller. What is nobody's mistake is an outage, whose cause is logged and not
// told.
func problemOf(err error) problem {
	var p problem
	tooLarge := new(http.MaxBytesError)
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, store.ErrNotFound):
		return problem{slug: "not-found"}
	case errors.As(err, &tooLarge):
		return problem{slug: "too-large"}
	}
	return problem{slug: "unavailable"}
}

// refuse answers with what is wrong: a page to people, a problem document to programs.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	known := page.Problems[p.slug]
	if known.Status >= http.StatusInternalServerError {
		slog.ErrorContext(r.Context(), "a request failed", "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "5")
	}
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		f := page.Frame{Name: "problem", Body: page.Problem{Slug: p.slug, Detail: p.detail}}
		if who, err := h.visitor(r); err == nil {
			f.Login = who.Account.Login
		}
		h.show(w, r, known.Status, f)
		return
	}
	body := api.Problem{Type: "/problems/" + p.slug, Title: known.Title["en"], Status: known.Status, Detail: p.detail, Reason: p.reason}
	if p.detail == "" {
		body.Detail = known.Text["en"]
	}
	if p.at != "" {
		body.Errors = append(body.Errors, struct {
			Detail string `json:"detail"`

			// Pointer which part of the request
			Pointer string `json:"pointer"`
		}{Detail: body.Detail, Pointer: p.at})
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(known.Status)
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone
}

// problemPage says what a problem is that somebody met, and what to do.
func (h *handler) problemPage(w http.ResponseWriter, r *http.Request) {
	slug := r.PathValue("slug")
	if _, known := page.Problems[slug]; !known {
		h.refuse(w, r, problem{slug: "not-found"})
		return
	}
	f := page.Frame{Name: "problem", Body: page.Problem{Slug: slug}}
	if who, err := h.visitor(r); err == nil {
		f.Login = who.Account.Login
	}
	h.show(w, r, http.StatusOK, f)
}

// badParameter answers a request whose parameters the contract does not allow.
func (h *handler) badParameter(w http.ResponseWriter, r *http.Request, err error) {
	p := problem{slug: "bad-request", detail: err.Error()}
	if format := new(api.InvalidParamFormatError); errors.As(err, &format) {
		p.at = format.ParamName
	}
	h.refuse(w, r, p)
}
