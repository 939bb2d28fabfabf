package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/store"
)

// tokenPrefix begins every token, so that scanners of leaked secrets know them.
const tokenPrefix = "cxk_"

// newToken is the prefix, 32 random bytes and a checksum: what somebody has cut or mistyped is not looked for.
func newToken() string {
	text := tokenPrefix + secret()
	return text + checksum(text)
}

func checksum(text string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text))) }

func isToken(text string) bool {
	at := len(text) - 8
	return at > len(tokenPrefix) && strings.HasPrefix(text, tokenPrefix) && text[at:] == checksum(text[:at])
}

// caller is who uses the API: by a token if there is one, else by the session of their browser.
func (h *handler) caller(r *http.Request) (store.Visitor, error) {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return h.visitor(r)
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") || !isToken(token) {
		return store.Visitor{}, store.ErrNotFound
	}
	return h.db.Bearer(r.Context(), sum(token))
}

// How long tokens are good.
const (
	usualDays = 90
	mostDays  = 366
)

// makeToken makes a token of the person's. One for a project in which they have no role opens nothing.
func (h *handler) makeToken(ctx context.Context, who store.Visitor, n api.NewToken) (api.Token, error) {
	name, days := strings.TrimSpace(n.Name), n.Days
	if days == 0 {
		days = usualDays
	}
	switch {
	case name == "" || len(name) > 100:
		return api.Token{}, problem{slug: "bad-request", detail: "a name has 1 to 100 characters", at: "/name"}
	case days < 1 || days > mostDays:
		return api.Token{}, problem{slug: "bad-request", detail: fmt.Sprintf("a token is good for 1 to %d days", mostDays), at: "/days"}
	case len(n.Scopes) == 0:
		return api.Token{}, problem{slug: "bad-request", detail: fmt.Sprintf("a token needs a scope of %v", access.Scopes), at: "/scopes"}
	}
	t := store.Token{Name: name, Projects: n.Projects, Expires: h.db.Now().Add(time.Duration(days) * 24 * time.Hour)}
	for _, s := range n.Scopes {
		if !slices.Contains(access.Scopes, access.Scope(s)) {
			return api.Token{}, problem{slug: "bad-request", detail: fmt.Sprintf("there is no scope %q: there are %v", s, access.Scopes), at: "/scopes"}
		}
		t.Scopes = append(t.Scopes, access.Scope(s))
	}
	for _, p := range t.Projects {
		if !who.Standing.May(access.ReadMe, p) {
			return api.Token{}, problem{slug: "bad-request", detail: fmt.Sprintf("you have no role in a project %q", p), at: "/projects"}
		}
	}
	text := newToken()
	made, err := h.db.MakeToken(ctx, who.Account, sum(text), t)
	if errors.Is(err, store.ErrNameTaken) {
		return api.Token{}, problem{slug: "name-taken", at: "/name"}
	}
	is := tokenOf(made)
	is.Secret = text
	return is, err
}

func (h *handler) tokens(ctx context.Context, who store.Visitor) (api.TokenList, error) {
	list := api.TokenList{Items: []api.Token{}}
	found, err := h.db.Tokens(ctx, who.Account.ID)
	for _, t := range found {
		list.Items = append(list.Items, tokenOf(t))
	}
	return list, err
}

func tokenOf(t store.Token) api.Token {
	is := api.Token{Id: t.ID, Name: t.Name, Scopes: []api.Scope{}, Projects: append([]string{}, t.Projects...), MadeAt: t.Made, ExpiresAt: t.Expires, UsedAt: t.Used}
	for _, s := range t.Scopes {
		is.Scopes = append(is.Scopes, api.Scope(s))
	}
	return is
}

// tokenPages are where a person sees, makes and revokes tokens. One that was just made is shown this once.
func (h *handler) tokenPages() {
	h.page("GET /tokens", func(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
		return h.tokenPage(r.Context(), who, page.Tokens{})
	})
	h.page("POST /tokens", func(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
		if err := r.ParseForm(); err != nil {
			return page.Frame{}, problem{slug: "bad-request", detail: err.Error()}
		}
		n := api.NewToken{Name: r.PostFormValue("name"), Projects: strings.Fields(r.PostFormValue("projects"))}
		n.Days, _ = strconv.Atoi(r.PostFormValue("days")) // what is no number is the usual time
		for _, s := range r.PostForm["scope"] {
			n.Scopes = append(n.Scopes, api.Scope(s))
		}
		v := page.Tokens{Name: n.Name}
		made, err := h.makeToken(r.Context(), who, n)
		var p problem
		if errors.As(err, &p) && (p.slug == "bad-request" || p.slug == "name-taken") {
			v.Refused, err = cmp.Or(p.detail, page.Problems[p.slug].Title[languageOf(r)]), nil
		}
		if err != nil {
			return page.Frame{}, err
		}
		v.Made = made
		f, err := h.tokenPage(r.Context(), who, v)
		if v.Refused != "" {
			f.Status = http.StatusUnprocessableEntity
		}
		return f, err
	})
	h.page("POST /tokens/{token}/revoke", func(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
		return page.Frame{Elsewhere: "/tokens"}, h.db.RevokeToken(r.Context(), who.Account, r.PathValue("token"))
	})
}

func (h *handler) tokenPage(ctx context.Context, who store.Visitor, v page.Tokens) (f page.Frame, err error) {
	v.List, err = h.tokens(ctx, who)
	for _, s := range access.Scopes {
		v.Scopes = append(v.Scopes, string(s))
	}
	return page.Frame{Name: "tokens", Body: v}, err
}

func (c contract) ListTokens(ctx context.Context, _ api.ListTokensRequestObject) (api.ListTokensResponseObject, error) {
	list, err := c.h.tokens(ctx, visitor(ctx))
	return api.ListTokens200JSONResponse(list), err
}

func (c contract) MakeToken(ctx context.Context, r api.MakeTokenRequestObject) (api.MakeTokenResponseObject, error) {
	made, err := c.h.makeToken(ctx, visitor(ctx), *r.Body)
	return api.MakeToken201JSONResponse(made), err
}

func (c contract) RevokeToken(ctx context.Context, r api.RevokeTokenRequestObject) (api.RevokeTokenResponseObject, error) {
	return api.RevokeToken204Response{}, c.h.db.RevokeToken(ctx, visitor(ctx).Account, r.Token)
}
