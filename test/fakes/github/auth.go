package fakegithub

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

const jwtDocs = docs

// maxJWT is GitHub's bound on the life of an App's token; the half minute is for clocks that differ.
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
const maxJWT = 10*time.Minute + 30*time.Second

// authenticate finds who sent the request. The mutex must be held.
func (s *Server) authenticate(r *http.Request) (principal, error) {
	credential := credential(r)
	if credential == "" {
		return principal{}, refuse(http.StatusUnauthorized, "Requires authentication")
	}
	if strings.Count(credential, ".") == 2 {
		if err := s.checkJWT(credential); err != nil {
			return principal{}, err
		}
		return principal{app: true, user: s.bot()}, nil
	}
	t := s.st.Tokens[credential]
	if t == nil || !t.ExpiresAt.IsZero() && !s.now().Before(t.ExpiresAt) {
		return principal{}, refuse(http.StatusUnauthorized, "Bad credentials")
	}
	return principal{user: s.user(t.Login), token: t}, nil
}

// credential takes the token out of any of the forms that GitHub accepts, Basic (the password) among them.
func credential(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token") {
		return strings.TrimSpace(value)
	}
	return ""
}

// checkJWT verifies a token that the App signed itself, with GitHub's messages.
func (s *Server) checkJWT(text string) error {
	bad := func(message string) error {
		e := refuse(http.StatusUnauthorized, message)
		e.Docs = jwtDocs
		return e
	}
	var claims jwt.MapClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil })
	if err != nil {
		return bad("A JSON web token could not be decoded")
	}
	issuer, err := appID(claims["iss"])
	if err != nil || issuer != s.st.App.ID {
		return bad("Integration not found")
	}
	now := s.now()
	issued, ok := claims["iat"].(float64)
	if !ok || time.Unix(int64(issued), 0).After(now.Add(30*time.Second)) {
		return bad("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	}
	expires, ok := claims["exp"].(float64)
	if !ok || !time.Unix(int64(expires), 0).After(now) {
		return bad("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	}
	if time.Unix(int64(expires), 0).After(now.Add(maxJWT)) {
		return bad("'Expiration time' claim ('exp') is too far in the future")
	}
	return nil
}

func appID(v any) (int64, error) {
	switch v := v.(type) {
	case string:
		return strconv.ParseInt(v, 10, 64)
	case float64:
		return int64(v), nil
	}
	return 0, errors.New("neither text nor number")
}

// secret returns n random bytes in hexadecimal.
func secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand.Read
	return hex.EncodeToString(b)
}

func requestID() string { return strings.ToUpper(secret(2) + ":" + secret(4) + ":" + secret(4)) }
