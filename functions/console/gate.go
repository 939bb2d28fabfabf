package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"codexk8s.dev/shared/store"
)

// sessionLife is how long one is signed in.
const sessionLife = 7 * 24 * time.Hour

// A gate is how people come in: the console's own address, and GitHub's sign-in of an App.
//
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
type gate struct {
	origin string // of the console, scheme and host; "" = nobody said where it is
	secure bool   // people reach it by TLS
	oauth  *oauth2.Config
	user   string // address of GitHub's API that says whose token it is
	client *http.Client
}

// newGate checks what the operator said. Without TLS it works on the own machine only, because a session's cookie would
// cross the network for everybody to read.
func newGate(console, api, id, secret string) (*gate, error) {
	g := &gate{user: strings.TrimRight(api, "/") + "/user", client: &http.Client{Timeout: 10 * time.Second}}
	if console == "" {
		return g, nil
	}
	u, err := url.Parse(console)
	switch {
	case err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return nil, fmt.Errorf("CONSOLE_URL %q is no address of a host: write https://console.example.com", console)
	case u.Scheme != "https" && (u.Scheme != "http" || !ownMachine(u.Hostname())):
		return nil, fmt.Errorf("CONSOLE_URL %q has no TLS: https:// it must be, but for localhost", console)
	}
	g.origin, g.secure = u.Scheme+"://"+u.Host, u.Scheme == "https"
	if id == "" || secret == "" {
		return g, nil
	}
	github := webOf(api)
	g.oauth = &oauth2.Config{
		ClientID: id, ClientSecret: secret, RedirectURL: g.origin + "/login/callback",
		Endpoint: oauth2.Endpoint{AuthURL: github + "/login/oauth/authorize", TokenURL: github + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams},
	}
	return g, nil
}

func ownMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// webOf is where people open the GitHub of a REST API: github.com, or the host of an Enterprise Server.
func webOf(api string) string {
	api = strings.TrimRight(api, "/")
	if api == "https://api.github.com" {
		return "https://github.com"
	}
	return strings.TrimSuffix(api, "/api/v3")
}

// account trades the code that GitHub sent the person back with for whose it is. The token is used once and forgotten.
func (g *gate) account(ctx context.Context, code, verifier string) (store.Account, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, g.client)
	token, err := g.oauth.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		if denied := new(oauth2.RetrieveError); errors.As(err, &denied) && denied.ErrorCode != "" {
			return store.Account{}, fmt.Errorf("%w: GitHub says %s", errNotSignedIn, denied.ErrorCode)
		}
		return store.Account{}, fmt.Errorf("asking GitHub who signs in: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.user, http.NoBody)
	if err != nil {
		return store.Account{}, fmt.Errorf("asking GitHub who signs in: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	req.Header.Set("Accept", "application/vnd.github+json")
	resp, err := g.client.Do(req)
	if err != nil {
		return store.Account{}, fmt.Errorf("asking GitHub who signs in: %w", err)
	}
	defer resp.Body.Close()
	var user struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Type  string `json:"type"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&user); err != nil || resp.StatusCode != http.StatusOK || user.ID <= 0 || user.Login == "" {
		return store.Account{}, fmt.Errorf("asking GitHub who signs in: it answered %s", resp.Status)
	}
	if user.Type != "User" {
		return store.Account{}, fmt.Errorf("%w: %s is no person", errNotSignedIn, user.Login)
	}
	return store.Account{ID: user.ID, Login: user.Login}, nil
}

// errNotSignedIn says that a sign-in did not come to its end, and why is the person's or GitHub's.
var errNotSignedIn = errors.New("not signed in")

// The cookies. Over TLS they have the prefix that keeps other hosts of the domain from setting them.
// https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
const (
	sessionCookie = "session"
	signInCookie  = "sign-in" // binds a sign-in to the browser that began it
)

func (g *gate) cookieName(name string) string {
	if g.secure {
		return "__Host-" + name
	}
	return name
}

func (g *gate) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: g.cookieName(name), Value: value, Path: "/", MaxAge: int(life.Seconds()), Secure: g.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (g *gate) dropCookie(w http.ResponseWriter, name string) { g.setCookie(w, name, "", -time.Second) }

// hashOf is the hash of what a cookie holds; nil if the request has none.
func (g *gate) hashOf(r *http.Request, name string) []byte {
	c, err := r.Cookie(g.cookieName(name))
	if err != nil || c.Value == "" {
		return nil
	}
	return sum(c.Value)
}

func sum(text string) []byte {
	hash := sha256.Sum256([]byte(text))
	return hash[:]
}

// secret is a value that nobody can guess.
func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}
