// Package redact keeps secrets out of what leaves the pod.
package redact

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Secrets replaces secrets in text that leaves the pod as log, summary, commit message or error, and finds them in
// files that are to be pushed. It knows the values it was told, pieces of them too, and the forms of well-known
// secrets, since an agent may print one that it found. One list serves both uses.
type Secrets struct {
	mu     sync.Mutex
	values []string
}

const redacted = "[redacted]"

// form is what a kind of secret looks like. Where the expression has a group, only the group is the secret.
type form struct {
	name  string
	marks string // words, one of which is in every match: they are found faster; empty = look anyway
	re    *regexp.Regexp
	// holds looks closer at a match that ordinary text may have too; nil takes every match.
	holds func(string) bool
	// issued says that nothing but a token of its issuer looks like this, so that a file which has it is not pushed. The
	// other forms are in test data and documentation everywhere.
	issued bool
}

// The forms, as their issuers document them:
//
//	GitHub    https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats
//	          an installation token is ghs_ and 36 characters, or ghs_<app id>_<JSON Web Token>
//	GitLab    https://docs.gitlab.com/security/tokens/#token-prefixes
//	Slack     https://docs.slack.dev/authentication/tokens
//	AWS       https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
//	HTTP      RFC 7617 (Basic), RFC 6750 (Bearer); JWT RFC 7519; PEM RFC 7468
var forms = []form{
	{name: "private key", marks: `PRIVATE`, re: regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)},
	{name: "private key", marks: `PRIVATE`, re: regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:\s*(?:\\[nr])*` + keyLine + `)*`)},
	{name: "GitHub token", marks: `gho_ ghp_ ghr_ ghs_ ghu_`, issued: true, re: edged(`gh[oprsu]_(?:[0-9]+_)?[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]+)*`), holds: random},
	{name: "GitHub token", marks: `github_pat_`, issued: true, re: edged(`github_pat_[A-Za-z0-9_]{20,}`), holds: random},
	{name: "GitLab token", marks: `glpat- gloas- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- glwt- glsoat- glffct-`, issued: true, re: edged(`gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|wt|soat|ffct)-[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]+)*`), holds: random},
	{name: "Slack token", marks: `xox xapp-`, issued: true, re: edged(`(?:xox[a-z](?:\.xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}`), holds: random},
	{name: "Slack webhook", marks: `hooks.slack.com/`, re: edged(`hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_+-]{20,}`)},
	{name: "npm token", marks: `npm_`, issued: true, re: edged(`npm_[A-Za-z0-9]{30,}`), holds: random},
	{name: "PyPI token", marks: `pypi-`, issued: true, re: edged(`pypi-[A-Za-z0-9_-]{50,}`), holds: random},
	{name: "OpenAI key", marks: `sk-`, issued: true, re: edged(`sk-[A-Za-z0-9_-]{20,}`), holds: random},
	{name: "Stripe key", marks: `sk_live_ sk_test_ rk_live_ rk_test_ whsec_`, issued: true, re: edged(`(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}`), holds: random},
	{name: "AWS key", marks: `AKIA ASIA ABIA ACCA`, issued: true, re: edged(`(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b`)},
	{name: "Google key", marks: `AIza GOCSPX- ya29.`, issued: true, re: edged(`(?:AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{20,})`), holds: random},
	{name: "access token", marks: `hf_ dckr_pat_ dop_v1_ doo_v1_ dor_v1_ lin_api_ hvs. shpat_ shpss_ ATATT3 rubygems_ dapi`, issued: true, re: edged(`(?:hf_|dckr_pat_|dop_v1_|doo_v1_|dor_v1_|lin_api_|hvs\.|shpat_|shpss_|ATATT3|rubygems_|dapi)[A-Za-z0-9_=-]{24,}`), holds: random},
	{name: "Telegram token", marks: `:`, re: edged(`[0-9]{8,11}:[A-Za-z0-9_-]{34,36}\b`), holds: random},
	{name: "SendGrid key", marks: `SG.`, issued: true, re: edged(`SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`), holds: random},
	{name: "JSON Web Token", marks: `eyJ`, re: edged(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}`), holds: func(s string) bool { return strings.Count(s, ".") >= 2 || len(s) > 60 }},
	{name: "Basic credentials", re: regexp.MustCompile(`(?i)\bBasic[ \t]+([A-Za-z0-9+/_-]{4,}={0,2})`), holds: userAndPassword},
	{name: "Bearer token", re: regexp.MustCompile(`(?i)\bBearer[ \t]+([A-Za-z0-9._~+/-]{12,}=*)`), holds: random},
	{name: "secret header", re: regexp.MustCompile(`(?i)\b(?:authorization|x-api-key|api-key|private-token|x-auth-token)["']?[ \t]*[:=][ \t]*["']?((?:[a-z]+[ \t]+)?[A-Za-z0-9._~+/=-]{12,})`), holds: random},
	{name: "password in a URL", marks: `://`, re: regexp.MustCompile(`://([^/\s:@"'<>]*:[^/\s@"'<>]+)@`)},
	{name: "token in a URL", marks: `://`, re: regexp.MustCompile(`://([^/\s:@"'<>]{20,})@`), holds: random},
	{name: "variable", marks: `=`, re: regexp.MustCompile(`\b[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY)[A-Z0-9_]*=["']?([A-Za-z0-9+/=._~!%^&*:-]{12,})`), holds: random},
}

// edged is an expression for a token after the edge of a word. The end of a color, an escape in JSON or in a URL is one.
func edged(token string) *regexp.Regexp {
	return regexp.MustCompile(`(?:\b|\x1b\[[0-9;]*m|\\[nrtbfv]|\\u[0-9a-fA-F]{4}|%[0-9A-Fa-f]{2})(` + token + `)`)
}

// keyLine is one line of a key's body, as a listing may show it: behind a line number, a quote's mark or a diff's sign.
const keyLine = `(?:[0-9]{0,6}[ \t|>+:-]*(?:[A-Za-z0-9+/]{16,}={0,2}|[A-Za-z0-9+/]{2,}={1,2}|(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n]*))`

var (
	keyLines = regexp.MustCompile(`\A(?:\s*|\s*` + keyLine + `\s*)\z`)
	keyMarks = regexp.MustCompile(`-----(BEGIN|END) [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
)

// random says whether text may be a secret that a machine made: words have no digits. So neither a variable's name
// nor a sentence is taken for one.
func random(s string) bool { return strings.ContainsFunc(s, unicode.IsDigit) }

// userAndPassword says whether Basic is followed by what RFC 7617 demands: "the user:password" in base64.
func userAndPassword(s string) bool {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	plain, err := base64.RawStdEncoding.DecodeString(s)
	return err == nil && utf8.Valid(plain) && strings.Contains(string(plain), ":")
}

// words are what a piece of a known value is looked for among. Shorter pieces are in ordinary words.
var words = regexp.MustCompile(`[A-Za-z0-9._-]{12,}`)

// Hide adds a value to replace. Short ones are ignored: they would blank out ordinary words.
func (r *Secrets) Hide(value string) {
	if len(value) < 8 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, value)
}

// known replaces the values, and pieces of them, as of a token that was printed in lines of twenty characters.
func (r *Secrets) known(text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.values {
		text = strings.ReplaceAll(text, v, redacted)
		text = words.ReplaceAllStringFunc(text, func(word string) string {
			if strings.Contains(v, word) {
				return redacted
			}
			return word
		})
	}
	return text
}

// Clean replaces every secret in a whole text.
func (r *Secrets) Clean(text string) string {
	text = r.known(text)
	for _, f := range forms {
		text = f.replace(text)
	}
	return text
}

// Stream cleans a text that comes in pieces, of which each ends with a line: a private key may begin in one and go on in
// the next.
type Stream struct {
	Secrets *Secrets
	inKey   bool
}

func (c *Stream) Clean(text string) string {
	head := ""
	for c.inKey && text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		ends := keyMarks.MatchString(line)
		if c.inKey = !ends && keyLines.MatchString(line); !c.inKey && !ends {
			break // the key was cut off
		}
		head, text = head+redacted+"\n", rest
	}
	if marks := keyMarks.FindAllStringSubmatch(text, -1); len(marks) > 0 {
		c.inKey = marks[len(marks)-1][1] == "BEGIN"
	}
	return head + c.Secrets.Clean(text)
}

func (f form) replace(text string) string {
	found := f.find(text)
	if len(found) == 0 {
		return text
	}
	var b strings.Builder
	end := 0
	for _, at := range found {
		b.WriteString(text[end:at[0]])
		b.WriteString(redacted)
		end = at[1]
	}
	return b.String() + text[end:]
}

// find returns where the secrets of this form begin and end.
func (f form) find(text string) (all [][2]int) {
	in := func(mark string) bool { return strings.Contains(text, mark) }
	if f.marks != "" && !slices.ContainsFunc(strings.Fields(f.marks), in) {
		return nil
	}
	for _, m := range f.re.FindAllStringSubmatchIndex(text, -1) {
		begin, end := m[len(m)-2], m[len(m)-1] // the group, else the whole
		if f.holds == nil || f.holds(text[begin:end]) {
			all = append(all, [2]int{begin, end})
		}
	}
	return all
}

// Issued finds what a file must not be pushed with: values of the run's, and tokens that only their issuers make.
// Examples of documentation say so of themselves.
func (r *Secrets) Issued(data []byte) []string {
	text := string(data)
	var found []string
	r.mu.Lock()
	for _, v := range r.values {
		if strings.Contains(text, v) {
			found = append(found, v)
		}
	}
	r.mu.Unlock()
	for _, f := range forms {
		if !f.issued {
			continue
		}
		for _, at := range f.find(text) {
			if token := text[at[0]:at[1]]; !strings.Contains(strings.ToLower(token), "example") {
				found = append(found, token)
			}
		}
	}
	return found
}
