package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

// Header names of a GitHub delivery.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
const (
	HeaderEvent     = "X-GitHub-Event"
	HeaderDelivery  = "X-GitHub-Delivery"
	HeaderSignature = "X-Hub-Signature-256"
	HeaderHook      = "X-GitHub-Hook-ID"
)

// MaxPayload is the size in bytes above which GitHub itself sends no payload.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
const MaxPayload = 25 << 20

// Why a signature was refused. Both are answered with 401; they differ in the metric, because a missing signature means
// a hook set up without a secret, and a wrong one a different secret (or an attacker).
var (
	ErrNoSignature    = errors.New("no sha256 signature: set a secret on the hook, the header " + HeaderSignature + " is required")
	ErrWrongSignature = errors.New("the signature fits none of our secrets: compare the hook's secret with the one configured here")
)

// Secrets are the webhook secrets that are valid now. There is more than one while a secret is being rotated: the new
// one is added here first, then set at GitHub, then the old one is removed here.
type Secrets [][]byte

// shortest is the length from which a piece between commas counts as a secret of its own.
const shortest = 8

// ParseSecrets reads secrets from one setting: one on each line, which is exact, or all on one line, separated by
// commas. As a comma may also be part of a secret, a single line counts as a whole too. It is not split if only some of
// the pieces are shorter than 8 characters, because a piece that was never meant as a secret may be easy to guess.
// Blanks around each are dropped. A setting without a secret is an error, because an empty key would accept what
// anybody signs with an empty key.
func ParseSecrets(setting string) (Secrets, error) {
	var secrets Secrets
	add := func(s string) {
		if s = strings.Trim(s, " \t\uFEFF"); strings.Trim(s, ", ") != "" {
			secrets = append(secrets, []byte(s))
		}
	}
	lines := strings.FieldsFunc(setting, func(r rune) bool { return r == '\n' || r == '\r' })
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Trim(line, " \t\uFEFF") == "" })
	for _, line := range lines {
		add(line)
	}
	if len(lines) == 1 && strings.Contains(lines[0], ",") {
		pieces := strings.Split(lines[0], ",")
		long := slices.IndexFunc(pieces, func(s string) bool { return len(strings.TrimSpace(s)) >= shortest }) >= 0
		short := slices.IndexFunc(pieces, func(s string) bool { s = strings.TrimSpace(s); return s != "" && len(s) < shortest }) >= 0
		if !long || !short {
			for _, piece := range pieces {
				add(piece)
			}
		}
	}
	if len(secrets) == 0 {
		return nil, errors.New("no webhook secret given: set at least one, each on a line of its own, or separated by commas")
	}
	return secrets, nil
}

// Verify checks the value of the header X-Hub-Signature-256 ("sha256=" and 64 hex digits) against the HMAC-SHA256 of
// the raw body, in constant time, under each secret. It returns nil, ErrNoSignature or ErrWrongSignature. The SHA-1
// header is ignored, and empty secrets never match.
func (s Secrets) Verify(signature string, body []byte) error {
	digits, ok := strings.CutPrefix(signature, "sha256=")
	if !ok {
		return ErrNoSignature
	}
	var want [sha256.Size]byte
	if len(digits) != 2*sha256.Size {
		return ErrWrongSignature
	}
	if _, err := hex.Decode(want[:], []byte(digits)); err != nil {
		return ErrWrongSignature
	}
	matched := false
	for _, secret := range s {
		if len(secret) == 0 {
			continue
		}
		var got [sha256.Size]byte
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		// No early exit, so that the time does not reveal which secret fits.
		if hmac.Equal(mac.Sum(got[:0]), want[:]) {
			matched = true
		}
	}
	if !matched {
		return ErrWrongSignature
	}
	return nil
}

// Sign returns the header value GitHub would send for the body under the secret.
func Sign(secret, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
