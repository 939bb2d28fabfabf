package redact

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made puts a secret's form together from parts, so that none stands in this file for scanners to find.
func made(parts ...string) string { return strings.Join(parts, "") }

const token = "run-token-for-tests-0123456789"

const letters = "0123456789abcdefghijABCDEFGHIJ0123456789"

// The forms of secrets that people and agents meet. Each is printed alone, in a sentence and in an assignment.
func secretForms() map[string]string {
	jwt := made("eyJ", "hbGciOiJSUzI1NiJ9", ".", "eyJ", "pc3MiOiIxMjM0NTY3In0", ".", "c2ln-bmF0_dXJl")
	return map[string]string{
		"GitHub installation":      made("ghs", "_", letters[:36]),
		"GitHub installation, JWT": made("ghs", "_1234567_", jwt),
		"GitHub user":              made("ghu", "_", letters[:36]),
		"GitHub personal":          made("ghp", "_", letters[:36]),
		"GitHub OAuth":             made("gho", "_", letters[:36]),
		"GitHub refresh":           made("ghr", "_", letters, letters[:36]),
		"GitHub fine-grained":      made("github", "_pat_", letters[:22], "_", letters),
		"GitLab personal":          made("gl", "pat-", letters[:20]),
		"GitLab routable":          made("gl", "pat-", letters[:27], ".01.", letters[:9]),
		"GitLab deploy":            made("gl", "dt-", letters[:20]),
		"Slack bot":                made("xo", "xb-123456789012-1234567890123-", letters[:24]),
		"Slack user":               made("xo", "xp-123456789012-1234567890123-", letters[:24]),
		"Slack app":                made("xa", "pp-1-A0123456789-1234567890123-", letters[:24]),
		"npm":                      made("np", "m_", letters[:36]),
		"OpenAI project":           made("sk", "-proj-", letters),
		"Anthropic":                made("sk", "-ant-api03-", letters),
		"AWS":                      made("AK", "IA", "ABCDEFGH12345678"),
		"AWS, temporary":           made("AS", "IA", "ABCDEFGH12345678"),
		"Google":                   made("AI", "za", letters[:35]),
		"Hugging Face":             made("h", "f_", letters[:34]),
		"Telegram":                 made("1234567890", ":", letters[:35]),
		"JWT":                      jwt,
		"Stripe":                   made("sk", "_live_", letters[:24]),
	}
}

func TestSecretsOfEveryFormAreReplaced(t *testing.T) {
	r := &Secrets{}
	for name, secret := range secretForms() {
		for _, around := range []string{"%s", "the token %s, and more", "TOKEN=%s\n", `{"key":"%s"}`, "https://x:%s@host/", "\x1b[32m%s\x1b[0m", "(%s)", "a\n%s\nb"} {
			text := fmt.Sprintf(around, secret)
			got := r.Clean(text)
			if strings.Contains(got, secret[4:]) || strings.Contains(got, secret[len(secret)-8:]) || !strings.Contains(got, redacted) {
				t.Errorf("%s in %q: %q", name, around, got)
			}
		}
	}
}

func TestSecretsOfHTTPAreReplaced(t *testing.T) {
	r := &Secrets{}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:hunter2"))
	for text, want := range map[string]string{
		"Authorization: Basic " + basic:                          "Authorization: Basic [redacted]",
		"http.extraheader=AUTHORIZATION: basic " + basic:         "http.extraheader=AUTHORIZATION: basic [redacted]",
		`"authorization": "Bearer ` + letters[:20] + `"`:         `"authorization": "Bearer [redacted]"`,
		"authorization: token " + letters[:20]:                   "authorization: [redacted]",
		"PRIVATE-TOKEN: " + letters[:20]:                         "PRIVATE-TOKEN: [redacted]",
		"x-api-key=" + letters[:20]:                              "x-api-key=[redacted]",
		"Basic YTpi":                                             "Basic [redacted]",
		"postgres://app:s3cret@db:5432/x":                        "postgres://[redacted]@db:5432/x",
		"https://" + letters[:30] + "@github.com/a/b":            "https://[redacted]@github.com/a/b",
		"DB_PASSWORD=" + letters[:16] + " HOME=/home/agent":      "DB_PASSWORD=[redacted] HOME=/home/agent",
		"AWS_SECRET_ACCESS_KEY='" + letters + "'":                "AWS_SECRET_ACCESS_KEY='[redacted]'",
		"Basic understanding of Bearer authentication is needed": "Basic understanding of Bearer authentication is needed",
		"the authorization: see documentation":                   "the authorization: see documentation",
		"TOKEN=os.environ ghost_writer sk-learn-something-else":  "TOKEN=os.environ ghost_writer sk-learn-something-else",
		"git@github.com:acme/shop.git https://host:8080/a@b":     "git@github.com:acme/shop.git https://host:8080/a@b",
	} {
		if got := r.Clean(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestKnownValuesAreReplacedInPiecesToo(t *testing.T) {
	r := &Secrets{}
	r.Hide(token)
	r.Hide("short")
	for text, want := range map[string]string{
		"a " + token + " short":                       "a [redacted] short",
		token[:14] + "\n" + token[14:]:                "[redacted]\n[redacted]",
		"first=" + token[:15] + " rest=" + token[15:]: "first=[redacted] rest=[redacted]",
		"run-token is a word, and so is tests":        "run-token is a word, and so is tests",
	} {
		if got := r.Clean(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// pem is a private key's file.
func pem(kind string) string {
	body := strings.TrimSuffix(strings.Repeat(letters+"ABCDEFGHIJKLMNOPabcdefgh\n", 6), "\n")
	return made("-----BEGIN ", kind, "PRIVATE", " KEY-----\n", body, "\nMIIEpQ==\n-----END ", kind, "PRIVATE", " KEY-----\n")
}

func TestPrivateKeysAreReplacedWhole(t *testing.T) {
	r := &Secrets{}
	for _, kind := range []string{"", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "} {
		for name, text := range map[string]string{
			"file":     pem(kind),
			"one line": strings.ReplaceAll(pem(kind), "\n", `\n`),
			"CRLF":     strings.ReplaceAll(pem(kind), "\n", "\r\n"),
			"diff":     "+" + strings.ReplaceAll(pem(kind), "\n", "\n+"),
			"numbered": "     1\t" + strings.ReplaceAll(pem(kind), "\n", "\n     2\t"),
			"head":     pem(kind)[:200],
		} {
			got := r.Clean("before\n" + text + "\nafter\n")
			if strings.Contains(got, letters[:16]) || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "after\n") {
				t.Errorf("%s%s: %q", kind, name, got)
			}
		}
	}
}

func TestIssuedTokensAreFoundInFiles(t *testing.T) {
	r := &Secrets{}
	r.Hide(token)
	forms := secretForms()
	for text, want := range map[string][]string{
		"x = 1\n":      nil,
		"x = " + token: {token},
		"x = " + forms["GitHub installation, JWT"] + " y":     {forms["GitHub installation, JWT"]},
		"x = " + forms["npm"] + "\n" + forms["Slack bot"]:     {forms["Slack bot"], forms["npm"]},
		made("AKIA", "IOSFODNN7EXAMPLE"):                      nil, // of Amazon's documentation
		pem(""):                                               nil, // test keys are in many repositories
		"url = postgres://postgres:postgres@localhost/test\n": nil,
		"Authorization: Bearer " + letters[:20]:               nil,
	} {
		got := r.Issued([]byte(text))
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("secrets of %q (-want +got):\n%s", text, diff)
		}
	}
}
