package redact

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const redacted = "[redacted]"

const privateKey = "private key"

// form is what a kind of secret looks like. Where the expression has a group, only the group is the secret.
type form struct {
	name  string
	marks string // words, one of which is in every match: they are found faster; empty = look anyway
	re    *regexp.Regexp
	// holds looks closer at a match that ordinary text may have too; nil accepts every match.
	holds func(string) bool
	// issued says that nothing but a token of its issuer looks like this, so that a file which has it is not pushed.
	// The other forms are in test data and documentation everywhere.
	issued bool
}

// The forms, as their issuers document them:
//
//	GitHub    https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats
//	          an installation token is ghs_ and 36 characters, or ghs_<app id>_<JSON Web Token>
//	GitLab    https://docs.gitlab.com/security/tokens/#token-prefixes
//	Slack     https://docs.slack.dev/authentication/tokens
//	Azure     https://learn.microsoft.com/purview/sit-defn-azure-ad-client-secret and the other definitions beside it
//	AWS       https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
//	HTTP      RFC 7617 (Basic), RFC 6750 (Bearer); JWT RFC 7519; PEM RFC 7468
var forms = []form{
	{name: privateKey, marks: `PRIVATE`, re: regexp.MustCompile(`-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}(?s:.*?)-{4,5} ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}`)},
	{name: privateKey, marks: `PRIVATE`, re: regexp.MustCompile(`-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}(?:\s*(?:\\[nr])*` + keyLine + `)*`)},
	{name: privateKey, marks: `Private-Lines:`, re: regexp.MustCompile(`Private-Lines: *[0-9]+((?:\s+[A-Za-z0-9+/=]{16,})+)`)},
	{name: privateKey, marks: `AGE-SECRET-KEY-`, issued: true, re: edged(`AGE-SECRET-KEY-[0-9A-Z]{50,}`)},
	{name: "GitHub token", marks: `gho_ ghp_ ghr_ ghs_ ghu_`, issued: true, re: edged(`gh[oprsu]_(?:[0-9]+_)?[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]+)*`), holds: random},
	{name: "GitHub token", marks: `github_pat_`, issued: true, re: edged(`github_pat_[A-Za-z0-9_]{20,}`), holds: random},
	{name: "GitLab token", marks: `glpat- gloas- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- glwt- glsoat- glffct-`, issued: true, re: edged(`gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|wt|soat|ffct)-[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]+)*`), holds: random},
	{name: "Slack token", marks: `xox xapp-`, issued: true, re: edged(`(?:xox[a-z](?:\.xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}`), holds: random},
	{name: "webhook", marks: `hooks.slack.com /api/webhooks /webhookb2`, re: regexp.MustCompile(`(?:hooks\.slack\.com\\?/(?:services|workflows|triggers)|discord(?:app)?\.com\\?/api\\?/webhooks|webhook\.office\.com\\?/webhookb2)((?:\\?/[A-Za-z0-9@_+-]+)+)`)},
	{name: "npm token", marks: `npm_`, issued: true, re: edged(`npm_[A-Za-z0-9]{30,}`), holds: random},
	{name: "PyPI token", marks: `pypi-`, issued: true, re: edged(`pypi-[A-Za-z0-9_-]{50,}`), holds: random},
	{name: "OpenAI key", marks: `sk-`, issued: true, re: edged(`sk-[A-Za-z0-9_-]{20,}`), holds: solid},
	{name: "Stripe key", marks: `sk_live_ sk_test_ rk_live_ rk_test_ whsec_`, issued: true, re: edged(`(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}`), holds: random},
	{name: "AWS key", marks: `AKIA ASIA ABIA ACCA`, issued: true, re: edged(`(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b`)},
	{name: "Azure secret", marks: `Q~ AZDO JQQJ99 +ASt +ARm +AMC`, issued: true, re: edged(`(?:[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}|[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}|[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}|[A-Za-z0-9+/]{76}\+(?:ASt|ARm|AMC)[A-Za-z0-9+/]{5}[AQgw]==)`)},
	{name: "Google key", marks: `AIza GOCSPX- ya29. AQ.A`, issued: true, re: edged(`(?:AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{20,}|AQ\.A[A-Za-z0-9_-]{40,})`), holds: random},
	{name: "access token", marks: `dckr_ sbp_ sb_secret_ tskey- HRKU- CCIPAT_ lsv2_ ATATT3 ATCTT3 cfut_ cfat_ dop_v1_ doo_v1_ dor_v1_ lin_api_ lin_oauth_ shpat_ shpca_ shpss_ rubygems_ glsa_ NRAK- sntrys_ sntryu_ ntn_ figd_ pscale_ PMAK- xkeysib- xsmtpsib- sha256~ CFPAT- rdme_ crsr_ sqp_ squ_ sqa_ GR1348941`, issued: true,
		re: edged(`(?:dckr_[po]at_|sbp_|sb_secret_|tskey-[a-z]+-|HRKU-|CCIPAT_|lsv2_[ps][tk]_|AT[AC]TT3|cf[ua]t_|do[por]_v1_|lin_(?:api|oauth)_|shp(?:at|ca|ss)_|rubygems_|glsa_|NRAK-|sntry[su]_|ntn_|figd_|pscale_(?:tkn|pw|oauth)_|PMAK-|x(?:key|smtp)sib-|sha256~|CFPAT-|rdme_|crsr_|sq[pua]_|GR1348941)[A-Za-z0-9_=-]{20,}`), holds: mixed},
	{name: "access token", marks: `hvs. hvb. hvr. fm2_ bkua_ ops_ AKCp dapi glc_ pul- gsk_ r8_ pplx- xai- dp. sq0 vcp_ vck_ vca_ vci_ vcr_ tfp_ sl. nvapi- csk- sess- sgp_ phx_ CCIPRJ_ pcsk_ tvly- e2b_ pnu_ jina_ ABSK`, issued: true,
		re: edged(`(?:hv[sbr]\.|fm2_|bkua_|ops_|AKCp|dapi|glc_|pul-|gsk_|r8_|pplx-|xai-|dp\.(?:pt|st|ct|sa)\.|sq0[a-z]{3}-|vc[pkair]_|tfp_|nvapi-|csk-|sess-|sgp_|phx_|CCIPRJ_|pcsk_|tvly-|e2b_|pnu_|jina_|ABSK[A-Za-z0-9+/]{60}|sl\.(?:u\.[A-Za-z0-9_-]{60}|[A-Za-z0-9_-]{100}))[A-Za-z0-9_=-]{24,}`), holds: solid},
	{name: "access token", marks: `hf_ nfp_ re_ sk_ v1.0- pat -us cmVmdGtu`, issued: true,
		re: edged(`(?:(?:hf_[A-Za-z0-9]{34}|nfp_[A-Za-z0-9]{36}|re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}|sk_[0-9a-f]{48}|v1\.0-[0-9a-f]{24}-[0-9a-f]{100,}|pat[A-Za-z0-9]{14}\.[0-9a-f]{64}|[0-9a-f]{32}-us[0-9]{1,2}|cmVmdGtu[A-Za-z0-9]{56})\b)`), holds: mixed},
	{name: "access token", marks: `ATBB LTAI oy2 cio SK key- 1//0 4/0A EAA`, issued: true,
		re: apart(`(?:(?:ATBB[A-Za-z0-9]{32}|LTAI[A-Za-z0-9]{12,26}|oy2[a-z0-9]{43}|cio[A-Za-z0-9]{32}|(?:SK|key-)[0-9a-f]{32}|1//0[A-Za-z0-9_-]{40,}|4/0A[A-Za-z0-9_-]{40,}|EAA[A-Za-z0-9]{80,})\b)`), holds: mixed},
	{name: "Discord token", marks: `.`, issued: true, re: edged(`[MNO][A-Za-z0-9]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}`), holds: ofUser},
	{name: "access token", marks: `.atlasv1.`, issued: true, re: edged(`[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,}`)},
	{name: "Telegram token", marks: `:`, re: edged(`(?:bot)?[0-9]{8,11}:[A-Za-z0-9_-]{34,36}\b`), holds: random},
	{name: "SendGrid key", marks: `SG.`, issued: true, re: edged(`SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`), holds: random},
	{name: "JSON Web Token", marks: `eyJ`, re: edged(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}`), holds: func(s string) bool { return strings.Count(s, ".") >= 2 || len(s) > 60 }},
	{name: "Basic credentials", marks: `asic ASIC`, re: regexp.MustCompile(`(?i)\bBasic[ \t]+([A-Za-z0-9+/_-]{4,}={0,2})`), holds: userAndPassword},
	{name: "Bearer token", marks: `earer EARER`, re: regexp.MustCompile(`(?i)\bBearer[ \t]+([A-Za-z0-9._~+/-]{12,}=*)`), holds: random},
	{name: "secret header", marks: `uthorization UTHORIZATION pi-key pi-Key PI-KEY rivate-token rivate-Token RIVATE-TOKEN auth-token Auth-Token AUTH-TOKEN`, re: regexp.MustCompile(`(?i)\b(?:authorization|x-api-key|api-key|private-token|x-auth-token)["']?[ \t]*[:=][ \t]*["']?((?:[a-z]+[ \t]+)?[A-Za-z0-9._~+/=-]{12,})`), holds: random},
	{name: "cookie", marks: `et-cookie et-Cookie ET-COOKIE`, re: regexp.MustCompile(`(?i)\bset-cookie["']?[ \t]*[:=][ \t]*["']?[^\s"'=;]+=([^\s"',;\\]{12,})`), holds: random},
	{name: "cookie", marks: `ookie OOKIE`, re: regexp.MustCompile(`(?i)(?:^|[^a-z-])cookie["']?[ \t]*:[ \t]*["']?([^\s"'=;]+=[^\r\n"'\\]{12,})`), holds: random},
	{name: "password in a URL", marks: `://`, re: regexp.MustCompile(`://([^/\s:@"'<>]*:[^/\s"'<>]+)@`)},
	{name: "token in a URL", marks: `://`, re: regexp.MustCompile(`://([^/\s:@"'<>]{20,})@`), holds: random},
	{name: "variable", marks: `=`, re: regexp.MustCompile(`\b[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY)[A-Z0-9_]*=["']?([A-Za-z0-9+/=._~!%^&*:-]{12,})`), holds: random},
	{name: "field", marks: `oken OKEN ecret ECRET assw ASSW pi_key pi-key piKey pikey PI_KEY PI-KEY pi-Key _key Key auth= auth: auth" auth' auth\ sig= ignature= IGNATURE=`,
		re: regexp.MustCompile(`(?i)(?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|_?auth|[?&](?:sig|signature|x-amz-signature))\\*["']?[ \t]*[:=][ \t]*\\*["']?([A-Za-z0-9+/=._~!%^*-]{12,})`), holds: machine},
	{name: "password of a machine", marks: `login`, re: regexp.MustCompile(`\blogin[ \t]+\S+\s+password[ \t]+(\S+)`)},
}

// edge is what a token may follow without a space: the end of a color, an escape in JSON or in a URL.
const edge = `_|\x1b\[[0-9;]*m|\\[nrtbfv]|\\u[0-9a-fA-F]{4}|%[0-9A-Fa-f]{2}`

// edged is an expression for a token after the edge of a word.
func edged(token string) *regexp.Regexp {
	return regexp.MustCompile(`(?:\b|` + edge + `)(` + token + `)`)
}

// apart is an expression for a token that begins like a word or like a piece of base64: it is no part of a longer one.
func apart(token string) *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[^A-Za-z0-9/+.-]|` + edge + `)(` + token + `)`)
}

// keyLine is one line of a key's body, as a listing may show it: behind a line number, a quote's mark or a diff's sign.
const keyLine = `(?:[0-9]{0,6}[ \t|>+:-]*(?:[A-Za-z0-9+/]{16,}={0,2}|[A-Za-z0-9+/]{2,}={1,2}|(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n]*))`

var (
	keyLines = regexp.MustCompile(`\A(?:\s*|\s*` + keyLine + `\s*)\z`)
	keyMarks = regexp.MustCompile(`-{4,5} ?(BEGIN|END) [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}`)
)

// random says whether text may be a generated secret: words have no digits, so neither a variable's name nor a sentence
// is taken for one.
func random(s string) bool { return strings.ContainsFunc(s, unicode.IsDigit) }

// solid says whether text has a long generated piece. Names of functions and classes, which may begin like some tokens,
// are short words with separators.
func solid(s string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune("-_.=", c) }),
		func(piece string) bool { return len(piece) >= 16 && random(piece) })
}

// mixed says whether a token of a form that names and words do not have is generated: it is not a placeholder such as
// "your-key" or xxxxxxxx. Letters alone may be a token, if they are of both cases.
func mixed(s string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune("-_.=~", c) }),
		func(piece string) bool {
			return len(piece) >= 8 && (random(piece) || strings.ToLower(piece) != piece && strings.ToUpper(piece) != piece)
		})
}

// ofUser says whether a token begins with the number of a user in base64.
func ofUser(s string) bool {
	first, _, _ := strings.Cut(s, ".")
	user, err := base64.RawStdEncoding.DecodeString(first)
	return err == nil && !strings.ContainsFunc(string(user), func(c rune) bool { return c < '0' || c > '9' })
}

// machine says whether the value of a field is generated: code and prose have names there, with a digit at most.
func machine(s string) bool {
	digits := 0
	for _, c := range s {
		if unicode.IsDigit(c) {
			digits++
		}
	}
	return digits > 1 || userAndPassword(s)
}

// userAndPassword says whether Basic is followed by what RFC 7617 demands: "the user:password" in base64.
func userAndPassword(s string) bool {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	plain, err := base64.RawStdEncoding.DecodeString(s)
	return err == nil && utf8.Valid(plain) && strings.Contains(string(plain), ":")
}

// replace replaces what stands at those places, which are in order of their beginnings.
func replace(text string, found [][2]int) string {
	if len(found) == 0 {
		return text
	}
	var b strings.Builder
	end := 0
	for _, at := range found {
		if at[0] < end {
			continue
		}
		b.WriteString(text[end:at[0]])
		b.WriteString(redacted)
		end = at[1]
	}
	return b.String() + text[end:]
}

// find returns where the secrets of this form begin and end, in order.
func (f form) find(text string) (all [][2]int) {
	for _, at := range f.places(text) {
		for _, m := range f.re.FindAllStringSubmatchIndex(text[at[0]:at[1]], -1) {
			begin, end := at[0]+m[len(m)-2], at[0]+m[len(m)-1] // the group, else the whole
			for f.issued && end == at[1] && end < len(text) && inWord(text[end]) {
				end, at[1] = end+1, end+1
			}
			if f.holds == nil || f.holds(text[begin:end]) {
				all = append(all, [2]int{begin, end})
			}
		}
	}
	return all
}

// places are the parts of a text in which the form may be. A token that its issuer makes has no blanks: it is near one
// of the marks, in the same word. So the expression, which is slow, sees little of a text and nearly nothing of other
// data.
func (f form) places(text string) (all [][2]int) {
	if !f.issued {
		if f.marks == "" || f.marked(text) {
			all = append(all, [2]int{0, len(text)})
		}
		return all
	}
	for mark := range strings.FieldsSeq(f.marks) {
		begin, end := 0, 0 // of the last place
		for from := 0; ; {
			i := strings.Index(text[from:], mark)
			if i < 0 {
				break
			}
			at := from + i
			from = at + len(mark)
			if at >= end {
				all = long(all, begin, end)
				for begin = at; begin > max(end, at-before) && inWord(text[begin-1]); begin-- {
				}
				end = from
			}
			for end < min(len(text), from+behind) && inWord(text[end]) {
				end++
			}
		}
		all = long(all, begin, end)
	}
	slices.SortFunc(all, func(a, b [2]int) int { return a[0] - b[0] })
	return merge(all)
}

// long adds a place that is long enough for a token.
func long(all [][2]int, begin, end int) [][2]int {
	if end-begin < shortestToken {
		return all
	}
	return append(all, [2]int{begin, end})
}

// merge makes places that touch each other, in order of their beginnings, one.
func merge(all [][2]int) (merged [][2]int) {
	for _, at := range all {
		if last := len(merged) - 1; last >= 0 && at[0] <= merged[last][1] {
			merged[last][1] = max(merged[last][1], at[1])
			continue
		}
		merged = append(merged, at)
	}
	return merged
}

// How much of a word is looked at around a mark, in bytes: more than what any token has before its mark, with what may
// stand before a token, and more than what any needs after it. The rest of a long one follows by itself.
const (
	before = 128
	behind = 256
	// shortestToken is an AWS key's length.
	shortestToken = 20
)

// inWord reports whether a byte may be in a token or in what stands before it without a blank, an escape of a terminal
// too.
func inWord(c byte) bool { return c > ' ' && c < 0x7f || c == 0x1b }

func (f form) marked(text string) bool {
	for mark := range strings.FieldsSeq(f.marks) {
		if strings.Contains(text, mark) {
			return true
		}
	}
	return false
}
