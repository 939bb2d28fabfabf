package main

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/oauth2"

	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/store"
)

// signInPage offers to sign in, and says what is missing if nobody can.
func (h *handler) signInPage(w http.ResponseWriter, r *http.Request) {
	v := page.SignIn{To: h.within(r.URL.Query().Get("to"))}
	switch {
	case h.gate.origin == "":
		v.Missing = "CONSOLE_URL"
	case h.gate.oauth == nil:
		v.Missing = "GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET"
	}
	h.show(w, r, http.StatusOK, page.Frame{Name: "signin", Body: v})
}

// signIn sends the person to GitHub. The sign-in is bound to this browser by a cookie, so that nobody can be signed in
// as somebody else by a link.
func (h *handler) signIn(w http.ResponseWriter, r *http.Request) {
	if h.gate.oauth == nil {
		h.refuse(w, r, problem{slug: "not-set-up"})
		return
	}
	state, browser, verifier := secret(), secret(), oauth2.GenerateVerifier()
	s := store.SignIn{Verifier: verifier, ReturnTo: h.within(r.FormValue("to"))}
	if err := h.db.BeginSignIn(r.Context(), sum(state), sum(browser), s); err != nil {
		h.refuse(w, r, err)
		return
	}
	h.gate.setCookie(w, signInCookie, browser, store.SignInWithin)
	http.Redirect(w, r, h.gate.oauth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

// signedIn is where GitHub sends the person back to.
func (h *handler) signedIn(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	browser := h.gate.hashOf(r, signInCookie)
	h.gate.dropCookie(w, signInCookie)
	if h.gate.oauth == nil || browser == nil || q.Get("state") == "" {
		h.refuse(w, r, problem{slug: "sign-in-failed"})
		return
	}
	s, err := h.db.EndSignIn(r.Context(), sum(q.Get("state")), browser)
	if errors.Is(err, store.ErrNotFound) || err == nil && q.Get("code") == "" { // the person said no at GitHub
		err = problem{slug: "sign-in-failed"}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	account, err := h.gate.account(r.Context(), q.Get("code"), s.Verifier)
	if errors.Is(err, errNotSignedIn) {
		err = problem{slug: "sign-in-failed", detail: err.Error()}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	session := secret()
	err = h.db.SignIn(r.Context(), sum(session), h.gate.hashOf(r, sessionCookie), account, r.UserAgent(), h.db.Now().Add(sessionLife))
	if errors.Is(err, store.ErrNotFound) {
		h.gate.dropCookie(w, sessionCookie)
		err = problem{slug: "no-role", detail: account.Login}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.gate.setCookie(w, sessionCookie, session, sessionLife)
	http.Redirect(w, r, s.ReturnTo, http.StatusSeeOther)
}

func (h *handler) signOut(w http.ResponseWriter, r *http.Request) {
	if hash := h.gate.hashOf(r, sessionCookie); hash != nil {
		if err := h.db.SignOut(r.Context(), hash); err != nil {
			h.refuse(w, r, err)
			return
		}
	}
	h.gate.dropCookie(w, sessionCookie)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// within is where to go after signing in: a page of ours, else the first. Browsers read a backslash as a slash and pass
// over line ends and tabs, so that a path may be an address elsewhere.
func (h *handler) within(to string) string {
	u, err := url.Parse(to)
	if err != nil || len(to) > 2000 || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") ||
		strings.ContainsFunc(to, func(r rune) bool { return r == '\\' || unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return "/"
	}
	if strings.HasPrefix(u.Path, "//") || strings.ContainsFunc(u.Path, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) {
		return "/"
	}
	_, pattern := h.mux.Handler(&http.Request{Method: http.MethodGet, URL: u})
	if !slices.Contains(h.pages, pattern) {
		return "/"
	}
	return u.RequestURI()
}
