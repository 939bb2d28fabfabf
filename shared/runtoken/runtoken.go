// Package runtoken makes and checks the one secret that an agent pod holds: its run token.
//
// A run token says "I am the agent of run R, in namespace N, under service account S, until time T", and nothing else.
// It carries no right of its own: its receiver (agent-gateway, llm-caller) looks the run up and decides from the
// database what that run may do now. So a leaked token gives no more than the rights of its run, and none once the run
// has ended, long before it expires.
//
// The form is a JSON Web Token (RFC 7519) signed with HMAC-SHA256 by a key that agent-launcher, agent-gateway and
// llm-caller share; it travels as "Authorization: Bearer <token>". Exactly one algorithm is accepted: a token whose
// header names another one, "none" included, is refused before its signature is looked at (RFC 8725 §3.1). The claims
// are sub (run id), ns (namespace), sa (service account), exp, iss and aud; iss and aud are fixed, so that another
// token signed with the same key by mistake is not taken for a run token.
//
// The package is pure: the time and the key are arguments, and equal claims give equal tokens.
package runtoken

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// minKey is the shortest key that is accepted, in bytes: as long as the hash, as RFC 7518 §3.2 demands for HS256.
const minKey = 32

// Key reads the key from a setting, RUN_TOKEN_KEY; one that is too short is an error.
func Key(text string) ([]byte, error) {
	if len(text) < minKey {
		return nil, fmt.Errorf("RUN_TOKEN_KEY has %d bytes, give at least %d", len(text), minKey)
	}
	return []byte(text), nil
}

const (
	issuer   = "https://codexk8s.dev/agent-launcher"
	audience = "codexk8s-run"
)

// ErrInvalid is wrapped by every error of Verify about a token that was never valid: malformed, signed with another key
// or algorithm, or not a run token.
var ErrInvalid = errors.New("run token is not valid")

// ErrExpired is wrapped by the error of Verify about a token that was valid once.
var ErrExpired = errors.New("run token has expired")

// Claims is what a run token says. All fields are required.
type Claims struct {
	RunID          string    // UUID of the run, as in the database
	Namespace      string    // Kubernetes namespace of the run's pod
	ServiceAccount string    // name of the pod's service account, inside Namespace
	Expires        time.Time // first instant at which the token is no longer valid; whole seconds, UTC
}

// payload is Claims as they are written into the token.
type payload struct {
	Namespace      string `json:"ns"`
	ServiceAccount string `json:"sa"`
	jwt.RegisteredClaims
}

// Mint returns the signed token for c. A fraction of a second in c.Expires is cut off, because a token holds whole
// seconds. It fails on a key shorter than minKey and on claims with an empty field.
func Mint(key []byte, c Claims) (string, error) {
	if len(key) < minKey {
		return "", fmt.Errorf("minting a run token: key has %d bytes, set RUN_TOKEN_KEY to at least %d", len(key), minKey)
	}
	if err := c.complete(); err != nil {
		return "", fmt.Errorf("minting a run token: %w", err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, payload{
		Namespace:      c.Namespace,
		ServiceAccount: c.ServiceAccount,
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    issuer,
			Subject:   c.RunID,
			Audience:  jwt.ClaimStrings{audience},
			ExpiresAt: jwt.NewNumericDate(c.Expires.Truncate(time.Second)),
		},
	})
	signed, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("minting a run token: %w", err)
	}
	return signed, nil
}

// Verify returns the claims of a token that was minted with key and has not expired at now. The error wraps ErrInvalid
// or ErrExpired and never contains the token. There is no leeway: the clocks concerned are those of one cluster.
func Verify(key []byte, token string, now time.Time) (Claims, error) {
	if len(key) < minKey {
		return Claims{}, fmt.Errorf("verifying a run token: key has %d bytes, set RUN_TOKEN_KEY to at least %d", len(key), minKey)
	}
	// The library would use its own clock; ours is the argument.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithoutClaimsValidation())
	var p payload
	if _, err := parser.ParseWithClaims(token, &p, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return Claims{}, fmt.Errorf("%w: %s", ErrInvalid, reason(err))
	}
	if !p.VerifyIssuer(issuer, true) || !p.VerifyAudience(audience, true) {
		return Claims{}, fmt.Errorf("%w: it was issued for something else", ErrInvalid)
	}
	if p.ExpiresAt == nil {
		return Claims{}, fmt.Errorf("%w: it has no expiry", ErrInvalid)
	}
	c := Claims{RunID: p.Subject, Namespace: p.Namespace, ServiceAccount: p.ServiceAccount, Expires: p.ExpiresAt.UTC()}
	if err := c.complete(); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !now.Before(c.Expires) {
		return Claims{}, fmt.Errorf("%w: at %s", ErrExpired, c.Expires.Format(time.RFC3339))
	}
	return c, nil
}

// complete says which required field is empty.
func (c Claims) complete() error {
	if c.RunID == "" {
		return errors.New("claims have no run id")
	}
	if c.Namespace == "" {
		return errors.New("claims have no namespace")
	}
	if c.ServiceAccount == "" {
		return errors.New("claims have no service account")
	}
	if c.Expires.Unix() <= 0 {
		return errors.New("claims have no expiry")
	}
	return nil
}

// reason puts the library's error into words that do not repeat any part of the token.
func reason(err error) string {
	var v *jwt.ValidationError
	if !errors.As(err, &v) {
		return "it cannot be read"
	}
	if v.Errors&jwt.ValidationErrorMalformed != 0 {
		return "it is not a signed token"
	}
	if v.Errors&jwt.ValidationErrorSignatureInvalid != 0 {
		return "its signature or algorithm is wrong"
	}
	return "it cannot be verified"
}
