package fakegithub

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// clientID is the App's, as GitHub writes those of Apps.
const clientID = "Iv1.fake"

// A grant is a person's yes to the App, which the App may trade for a token once, within ten minutes.
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
type grant struct {
	login, redirect, challenge string
	until                      time.Time
}

const (
	grantLife     = 10 * time.Minute
	userTokenLife = 8 * time.Hour
)

// SignIn lets people sign in elsewhere by the App: they are sent back to the callback URL. It returns the App's client
// id and secret.
func (s *Server) SignIn(callback string) (id, clientSecret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.st.App
	if a.ClientSecret == "" {
		a.ClientSecret = secret(20)
	}
	a.Callback = callback
	s.changed()
	return clientID, a.ClientSecret
}

func (s *Server) oauthRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /login/oauth/authorize", s.page("authorize", s.authorizePage))
	mux.HandleFunc("GET /login/oauth/authorize/as", s.authorize)
	mux.HandleFunc("POST /login/oauth/access_token", s.trade)
}

// authorizePage asks the person whom the App may know them as.
func (s *Server) authorizePage(r *http.Request, f *frame) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Title = "Sign in"
	if err := s.checkClient(r); err != nil {
		f.Refused = err.Error()
		return true, nil
	}
	q := r.URL.Query()
	links := map[string]string{}
	for _, login := range f.Accounts {
		q.Set("login", login)
		links[login] = "/login/oauth/authorize/as?" + q.Encode()
	}
	q.Del("login")
	f.Own = map[string]any{"App": s.st.App.Slug, "Links": links, "No": s.st.App.Callback + "?" + url.Values{"error": {"access_denied"}, "state": {q.Get("state")}}.Encode()}
	return true, nil
}

// checkClient refuses an App that is not ours, and an address that is not the App's. The mutex must be held.
func (s *Server) checkClient(r *http.Request) error {
	q := r.URL.Query()
	switch {
	case q.Get("client_id") != clientID || s.st.App.ClientSecret == "":
		return errors.New("404 there is no App with this client_id")
	case q.Get("redirect_uri") != s.st.App.Callback:
		return errors.New("the redirect_uri is not associated with this application")
	case q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256":
		return errors.New("the code_challenge_method has to be S256")
	}
	return nil
}

// authorize sends the person back with a code.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	if err := s.checkClient(r); err != nil || !slices.Contains(s.people(), q.Get("login")) {
		http.Error(w, "GitHub would not offer this", http.StatusBadRequest)
		return
	}
	code := secret(10)
	s.grants[code] = grant{q.Get("login"), q.Get("redirect_uri"), q.Get("code_challenge"), s.now().Add(grantLife)}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

// trade gives a token for a code. As on GitHub, a refusal is a 200 with an error in it.
func (s *Server) trade(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, known := s.grants[r.FormValue("code")]
	answer := func(said map[string]string) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(said)
	}
	if r.FormValue("client_id") != clientID || r.FormValue("client_secret") != s.st.App.ClientSecret {
		answer(map[string]string{"error": "incorrect_client_credentials", "error_description": "The client_id and/or client_secret passed are incorrect."})
		return
	}
	verifier := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !known || s.now().After(g.until) || g.challenge != "" && g.challenge != base64.RawURLEncoding.EncodeToString(verifier[:]) {
		answer(map[string]string{"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."})
		return
	}
	if redirect := r.FormValue("redirect_uri"); redirect != "" && redirect != g.redirect {
		answer(map[string]string{"error": "redirect_uri_mismatch", "error_description": "The redirect_uri MUST match the registered callback URL for this application."})
		return
	}
	delete(s.grants, r.FormValue("code"))
	t := &token{Value: "ghu_" + secret(18), Login: g.login, Permissions: map[string]string{}, ExpiresAt: s.now().Add(userTokenLife)}
	s.st.Tokens[t.Value] = t
	s.changed()
	answer(map[string]string{"access_token": t.Value, "token_type": "bearer", "scope": ""})
}
