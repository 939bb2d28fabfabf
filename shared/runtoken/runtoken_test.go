package runtoken

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-cmp/cmp"
)

var (
	key = []byte("0123456789abcdef0123456789abcdef")
	now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	one = Claims{
		RunID:          "3f0c9a1e-6a57-4a0e-9a57-0b2d0d7f3a11",
		Namespace:      "codexk8s-run-3f0c9a1e6a57",
		ServiceAccount: "agent",
		Expires:        now.Add(time.Hour),
	}
)

func mint(t *testing.T, c Claims) string {
	t.Helper()
	token, err := Mint(key, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRoundTrip(t *testing.T) {
	token := mint(t, one)
	got, err := Verify(key, token, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, got); diff != "" {
		t.Errorf("claims changed on the way (-minted +verified):\n%s", diff)
	}
	if again := mint(t, one); again != token {
		t.Error("equal claims gave different tokens")
	}
}

func TestExpiryIsExact(t *testing.T) {
	withFraction := one
	withFraction.Expires = one.Expires.Add(999 * time.Millisecond)
	token := mint(t, withFraction)
	if _, err := Verify(key, token, one.Expires.Add(-time.Nanosecond)); err != nil {
		t.Errorf("one nanosecond early: %v", err)
	}
	if _, err := Verify(key, token, one.Expires); !errors.Is(err, ErrExpired) {
		t.Errorf("at the instant of expiry: got %v, want ErrExpired", err)
	}
}

func TestMintRefuses(t *testing.T) {
	for name, broken := range map[string]func(*Claims){
		"no run id":          func(c *Claims) { c.RunID = "" },
		"no namespace":       func(c *Claims) { c.Namespace = "" },
		"no service account": func(c *Claims) { c.ServiceAccount = "" },
		"no expiry":          func(c *Claims) { c.Expires = time.Time{} },
	} {
		c := one
		broken(&c)
		if token, err := Mint(key, c); err == nil {
			t.Errorf("%s: minted %q", name, token)
		}
	}
	if _, err := Mint(key[:minKey-1], one); err == nil {
		t.Error("minted with a short key")
	}
	if _, err := Verify(key[:minKey-1], mint(t, one), now); err == nil {
		t.Error("verified with a short key")
	}
}

func TestVerifyRefuses(t *testing.T) {
	good := mint(t, one)
	parts := strings.Split(good, ".")
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	signed := func(method jwt.SigningMethod, key any, change func(*payload)) string {
		p := payload{Namespace: one.Namespace, ServiceAccount: one.ServiceAccount, RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: one.RunID, Audience: jwt.ClaimStrings{audience}, ExpiresAt: jwt.NewNumericDate(one.Expires),
		}}
		if change != nil {
			change(&p)
		}
		s, err := jwt.NewWithClaims(method, p).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	stolen := signed(jwt.SigningMethodHS256, key, func(p *payload) { p.Subject = "another run" })

	// A control: the helper's unchanged token is good, so each refusal below has the cause it names.
	if _, err := Verify(key, signed(jwt.SigningMethodHS256, key, nil), now); err != nil {
		t.Fatalf("control: %v", err)
	}
	for name, token := range map[string]string{
		"empty":                     "",
		"not a token":               "hello",
		"two segments":              parts[0] + "." + parts[1],
		"four segments":             good + ".x",
		"payload of another token":  parts[0] + "." + strings.Split(stolen, ".")[1] + "." + parts[2],
		"no signature":              parts[0] + "." + parts[1] + ".",
		"alg none":                  segment(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
		"alg none, signed":          segment(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"alg HS384":                 signed(jwt.SigningMethodHS384, key, nil),
		"alg HS512":                 signed(jwt.SigningMethodHS512, key, nil),
		"another key":               signed(jwt.SigningMethodHS256, []byte("another key, and of 32 bytes too"), nil),
		"another issuer":            signed(jwt.SigningMethodHS256, key, func(p *payload) { p.Issuer = "https://example.com" }),
		"another audience":          signed(jwt.SigningMethodHS256, key, func(p *payload) { p.Audience = jwt.ClaimStrings{"console"} }),
		"no audience":               signed(jwt.SigningMethodHS256, key, func(p *payload) { p.Audience = nil }),
		"no expiry":                 signed(jwt.SigningMethodHS256, key, func(p *payload) { p.ExpiresAt = nil }),
		"no run id":                 signed(jwt.SigningMethodHS256, key, func(p *payload) { p.Subject = "" }),
		"payload is not an object":  parts[0] + "." + segment(`[]`) + "." + parts[2],
		"expiry is not a number":    parts[0] + "." + segment(`{"exp":"soon"}`) + "." + parts[2],
		"expiry beyond every clock": parts[0] + "." + segment(`{"exp":1e308}`) + "." + parts[2],
	} {
		claims, err := Verify(key, token, now)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %+v, %v, want ErrInvalid", name, claims, err)
			continue
		}
		if token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
}

// TestEveryChangedByteIsNoticed flips one bit in each byte of a good token.
func TestEveryChangedByteIsNoticed(t *testing.T) {
	good := mint(t, one)
	for i := range good {
		changed := []byte(good)
		changed[i] ^= 1
		got, err := Verify(key, string(changed), now)
		// The last character of a base64 segment has bits that mean nothing; a change there leaves the same token.
		if err == nil && got != one {
			t.Errorf("byte %d: changed token gave %+v", i, got)
		}
		last := i == len(good)-1 || good[i+1] == '.'
		if err == nil && !last {
			t.Errorf("byte %d: a changed token was accepted", i)
		}
	}
}

func FuzzVerify(f *testing.F) {
	good, err := Mint(key, one)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := Verify(key, token, now)
		if err == nil && claims != one {
			t.Fatalf("%q verified as %+v, which nobody minted", token, claims)
		}
	})
}
