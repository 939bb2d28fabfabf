package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/store"
)

type handler struct {
	db    *store.DB
	gate  *gate
	send  func(context.Context, ...event.Event) error
	later func(context.Context, func(context.Context)) // does it after the answer
	hub   *hub
	// stopping is closed when the function is to end: streams do, so that their pages connect to the next one.
	stopping <-chan struct{}
	mux      *http.ServeMux
	pages    []string // patterns of pages, to which a sign-in may return
}

// routes are the pages, the API, and the ways in and out.
func (h *handler) routes() http.Handler {
	h.mux = http.NewServeMux()
	h.page("GET /{$}", h.homePage)
	h.page("GET /approvals/{approval}", h.approvalPage)
	h.page("POST /approvals/{approval}/votes", h.votePage)
	h.page("GET /runs", h.runsPage)
	h.page("GET /runs/{run}", h.runPage)
	h.page("GET /issues/{owner}/{repository}/{issue}", h.issuePage)
	h.orderPages()
	h.tokenPages()
	h.mux.HandleFunc("GET /login", h.signInPage)
	h.mux.HandleFunc("POST /login", h.signIn)
	h.mux.HandleFunc("GET /login/callback", h.signedIn)
	h.mux.HandleFunc("POST /logout", h.signOut)
	h.mux.HandleFunc("POST /language", h.language)
	h.mux.HandleFunc("GET /problems/{slug}", h.problemPage)
	h.mux.HandleFunc("GET /stream", h.serveStream)
	h.mux.HandleFunc("GET /static/{file}", page.Static)
	h.mux.HandleFunc("GET /v1/openapi.yaml", api.Document)
	api.HandlerWithOptions(h.strict(), api.StdHTTPServerOptions{BaseRouter: h.mux, ErrorHandlerFunc: h.badParameter})
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.refuse(w, r, problem{slug: "not-found"}) })
	return h.guard(h.mux)
}

// guard puts on every answer what browsers hold it to, and turns away what another site has a browser do.
func (h *handler) guard(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "+
			"connect-src 'self'; form-action 'self'"+h.gate.formTarget()+"; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		if h.gate.secure {
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
		// The standard library compares an Origin with the Host; ours is known, so it has to be that one. A form posted
		// from a page whose origin is opaque says null.
		origin := r.Header.Get("Origin")
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead
		if err := protection.Check(r); err != nil || !safe && origin != "" && h.gate.origin != "" && origin != h.gate.origin {
			h.refuse(w, r, problem{slug: "cross-origin"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// maxBody is the largest body: a form with an answer.
const maxBody = 64 << 10

// formTarget is where a form may lead besides the console, since the browser follows the sign-in's redirect.
func (g *gate) formTarget() string {
	if g.oauth == nil {
		return ""
	}
	return " " + strings.TrimSuffix(g.oauth.Endpoint.AuthURL, "/login/oauth/authorize")
}

// page serves a page for people who are signed in; others are asked to.
func (h *handler) page(pattern string, view func(http.ResponseWriter, *http.Request, store.Visitor) (page.Frame, error)) {
	if strings.HasPrefix(pattern, "GET ") {
		h.pages = append(h.pages, pattern)
	}
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		who, err := h.visitor(r)
		if errors.Is(err, store.ErrNotFound) && page.Partial(r) {
			err = problem{slug: "not-signed-in"}
		}
		if errors.Is(err, store.ErrNotFound) {
			to := r.URL.RequestURI()
			if r.Method == http.MethodPost { // what was sent is lost; the page before shows it again
				to = strings.TrimSuffix(r.URL.Path, "/votes")
			}
			http.Redirect(w, r, "/login?"+page.Query("to", to), http.StatusSeeOther)
			return
		}
		f := page.Frame{}
		if err == nil {
			f, err = view(w, r, who)
		}
		f.Login = who.Account.Login
		switch {
		case err != nil:
			h.refuse(w, r, err)
		case f.Elsewhere != "":
			http.Redirect(w, r, f.Elsewhere, http.StatusSeeOther)
		default:
			h.show(w, r, cmp.Or(f.Status, http.StatusOK), f)
		}
	})
}

// visitor is who sends the request; store.ErrNotFound if they are not signed in, or have no role any more.
func (h *handler) visitor(r *http.Request) (store.Visitor, error) {
	hash := h.gate.hashOf(r, sessionCookie)
	if hash == nil {
		return store.Visitor{}, store.ErrNotFound
	}
	return h.db.Visitor(r.Context(), hash)
}

func (h *handler) show(w http.ResponseWriter, r *http.Request, status int, f page.Frame) {
	f.Language, f.Path, f.Now = languageOf(r), r.URL.RequestURI(), h.db.Now()
	if err := page.Write(w, r, status, f); err != nil {
		slog.ErrorContext(r.Context(), "showing a page", "page", f.Name, "error", err)
		http.Error(w, "This page could not be shown. The log of the function console says why.", http.StatusInternalServerError)
	}
}

// language keeps the language that a person chose, in their browser.
func (h *handler) language(w http.ResponseWriter, r *http.Request) {
	if chosen := r.FormValue("language"); page.Speaks(chosen) {
		http.SetCookie(w, &http.Cookie{Name: "language", Value: chosen, Path: "/", MaxAge: 365 * 24 * 3600, Secure: h.gate.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	http.Redirect(w, r, h.within(r.FormValue("to")), http.StatusSeeOther)
}

// languageOf is the language that the person chose, else the first of the browser's that there is.
func languageOf(r *http.Request) string {
	if c, err := r.Cookie("language"); err == nil && page.Speaks(c.Value) {
		return c.Value
	}
	return page.Match(r.Header.Get("Accept-Language"))
}
