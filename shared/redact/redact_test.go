package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made puts a secret's form together from parts, so that none stands in this file for scanners to find.
func made(parts ...string) string { return strings.Join(parts, "") }

const token = "run-token-for-tests-0123456789"

const sample = "0123456789abcdefghijABCDEFGHIJ0123456789"

// The forms of secrets that people and agents meet. Each is printed alone, in a sentence and in an assignment.
func secretForms() map[string]string {
	jwt := made("eyJ", "hbGciOiJSUzI1NiJ9", ".", "eyJ", "pc3MiOiIxMjM0NTY3In0", ".", "c2ln-bmF0_dXJl")
	return map[string]string{
		"GitHub installation":      made("ghs", "_", sample[:36]),
		"GitHub installation, JWT": made("ghs", "_1234567_", jwt),
		"GitHub user":              made("ghu", "_", sample[:36]),
		"GitHub personal":          made("ghp", "_", sample[:36]),
		"GitHub OAuth":             made("gho", "_", sample[:36]),
		"GitHub refresh":           made("ghr", "_", sample, sample[:36]),
		"GitHub fine-grained":      made("github", "_pat_", sample[:22], "_", sample),
		"GitLab personal":          made("gl", "pat-", sample[:20]),
		"GitLab routable":          made("gl", "pat-", sample[:27], ".01.", sample[:9]),
		"GitLab deploy":            made("gl", "dt-", sample[:20]),
		"Slack bot":                made("xo", "xb-123456789012-1234567890123-", sample[:24]),
		"Slack user":               made("xo", "xp-123456789012-1234567890123-", sample[:24]),
		"Slack app":                made("xa", "pp-1-A0123456789-1234567890123-", sample[:24]),
		"npm":                      made("np", "m_", sample[:36]),
		"OpenAI project":           made("sk", "-proj-", sample),
		"Anthropic":                made("sk", "-ant-api03-", sample),
		"AWS":                      made("AK", "IA", "ABCDEFGH12345678"),
		"AWS, temporary":           made("AS", "IA", "ABCDEFGH12345678"),
		"Google":                   made("AI", "za", sample[:35]),
		"Hugging Face":             made("h", "f_", sample[:34]),
		"Telegram":                 made("1234567890", ":", sample[:35]),
		"JWT":                      jwt,
		"Stripe":                   made("sk", "_live_", sample[:24]),
		"OpenAI service account":   made("sk", "-svcacct-", sample),
		"Grafana":                  made("gl", "sa_", sample[:32], "_01234567"),
		"Groq":                     made("gs", "k_", sample),
		"Sentry":                   made("sn", "trys_", sample),
		"Notion":                   made("nt", "n_", sample),
		"Doppler":                  made("dp", ".pt.", sample),
		"Terraform":                made(sample[:14], ".atlasv1.", sample, sample),
		"Azure client":             made("abc8", "Q~", sample[:34]),
		"Azure DevOps":             made(sample, sample[:36], "AZ", "DO", "0123"),
		"Azure storage":            made(sample, sample[:36], "+A", "St", "abcdeA=="),
		"Azure AI":                 made(sample, sample[:12], "JQ", "QJ99", sample[:26]),
		"Supabase":                 made("sb", "p_", sample),
		"Tailscale":                made("ts", "key-auth-", sample),
		"Cloudflare":               made("cf", "ut_", sample),
		"LangSmith":                made("ls", "v2_pt_", sample),
		"Docker organization":      made("dckr", "_oat_", sample),
		"Vault batch":              made("hv", "b.", sample, sample),
		"age":                      made("AGE", "-SECRET-KEY-1", strings.Repeat("QPZRY9X8GF2TV", 5)),
		"Hugging Face, letters":    made("h", "f_", strings.Repeat("abcdEfGh", 4), "iJ"),
		"Docker, letters":          made("dckr", "_pat_", strings.Repeat("aBcdEfGhi", 3)),
		"Supabase, in pieces":      made("sb", "_secret_", "0a1B2c3D4e5-F6g7H8i9J0_k1L2m3N4"),
		"Sonar":                    made("sq", "p_", hexes[:40]),
		"Sonar user":               made("sq", "u_", hexes[:40]),
		"GitLab runner":            made("GR", "1348941", sample[:20]),
		"Vault recovery":           made("hv", "r.", sample, sample),
		"Shopify custom app":       made("sh", "pca_", hexes[:32]),
		"Linear OAuth":             made("lin", "_oauth_", hexes),
		"Brevo":                    made("xkey", "sib-", hexes, "-", sample[:16]),
		"Brevo SMTP":               made("xsmt", "psib-", hexes, "-", sample[:16]),
		"Netlify":                  made("nf", "p_", sample[:36]),
		"Vercel":                   made("vc", "p_", sample),
		"Vercel gateway":           made("vc", "k_", sample),
		"OpenShift":                made("sha", "256~", sample, "_0-"),
		"Contentful":               made("CF", "PAT-", sample, "_0-"),
		"Typeform":                 made("tf", "p_", sample, "abcd_", sample[:14]),
		"ReadMe":                   made("rd", "me_", "xn8s9h", hexes),
		"Airtable":                 made("pa", "t", sample[:14], ".", hexes),
		"Bitbucket":                made("AT", "BB", sample[:32]),
		"Alibaba":                  made("LT", "AI5t", sample[:18]),
		"NuGet":                    made("oy", "2", hexes[:43]),
		"crates.io":                made("ci", "o", sample[8:]),
		"ElevenLabs":               made("sk", "_", hexes[:48]),
		"Resend":                   made("re", "_aBcd1234_", sample[:24]),
		"Twilio":                   made("S", "K", hexes[:32]),
		"Mailgun":                  made("ke", "y-", hexes[:32]),
		"Mailchimp":                made(hexes[:32], "-us", "12"),
		"Discord":                  made("MTA5OTg4Nzc2NjU1NDQzMzIy", ".Gabc12.", sample[:38]),
		"Google refresh":           made("1/", "/0", "g", sample, "_", sample),
		"Google code":              made("4/", "0A", sample, "-", sample),
		"Meta":                     made("EA", "AG", sample, sample, sample),
		"Dropbox":                  made("sl", ".u.", sample, "-", sample, "_", sample),
		"Cloudflare origin":        made("v1", ".0-", hexes[:24], "-", hexes, hexes, hexes[:18]),
		"Cursor":                   made("crs", "r_", hexes),
		"NVIDIA":                   made("nv", "api-", sample, "_", sample[:23]),
		"Cerebras":                 made("cs", "k-", hexes[:48]),
		"OpenAI session":           made("se", "ss-", sample),
		"Sourcegraph":              made("sg", "p_", hexes[:16], "_", hexes[:40]),
		"PostHog":                  made("ph", "x_", sample),
		"CircleCI project":         made("CCI", "PRJ_", sample[:22], "_", hexes[:40]),
		"Pinecone":                 made("pc", "sk_", sample[:5], "_", sample, sample[:20]),
		"Tavily":                   made("tv", "ly-dev-", sample[:32]),
		"E2B":                      made("e2", "b_", hexes[:40]),
		"Bedrock":                  made("AB", "SK", base64.StdEncoding.EncodeToString([]byte("BedrockAPIKey-abcd-at-012345678901:"+sample+sample))),
		"Gemini":                   made("AQ", ".Ab8", sample, sample[:10]),
		"Artifactory":              made("cmVm", "dGtu", sample, sample[:16]),
	}
}

const hexes = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestOrdinaryTextIsNoToken(t *testing.T) {
	t.Parallel()
	r := &Secrets{}
	for _, text := range []string{
		hexes, hexes[:32], hexes[:40], "sha256:" + hexes, "image@sha256:" + hexes, "0f8fad5b-d9cb-469f-a165-70867728950e",
		"cache-key-" + hexes[:32], "etag-" + hexes[:32] + "-user12", "SKU0123456789", "TASK" + hexes[:32],
		"sb_secret_your-secret-key-goes-here", "dckr_pat_XXXXXXXXXXXXXXXXXXXXXXXXXXX", "lin_api_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"hf_hub_download_from_the_repository_x2", "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "hvs.computeHistogramValuesForEveryBucket", "pul-request-number-that-is-longer-2",
		"re_compiled_expression_of_the_words1", "patch0123456789.diff", "sk_test_mode_is_a_setting_with_a_long_name1", "vcp_video_codec_parameters_of_stream_2",
		"4/0Ab", "x = 1//0", "1//0g is a division", "sl.u.short", "EAAaaa", "v1.0-rc1", "v1.0-20260102030405-0123456789ab",
		"NewServerOfTheWholePlatform1.Handle.ReadsTheWholeBodyOfTheRequestFirst", "cioppino", "oy2", "rdme_", "GR1348941",
		"abcd/EAA" + strings.Repeat("abc123XYZ", 14), "abc+cio" + sample[8:],
		"Set-Cookie: theme=dark; Path=/; HttpOnly", "Set-Cookie: <cookie-name>=<cookie-value>", "Cookie: consent=yes",
		"h1:" + base64.StdEncoding.EncodeToString([]byte(sample[:32])), "sha512-" + base64.StdEncoding.EncodeToString([]byte(sample+sample[:24])),
	} {
		if got := r.Clean(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
		if got := r.Issued([]byte(text)); got != nil {
			t.Errorf("%q holds %q", text, got)
		}
	}
}

func TestSecretsOfEveryFormAreReplaced(t *testing.T) {
	t.Parallel()
	r := &Secrets{}
	for name, secret := range secretForms() {
		for _, around := range []string{"%s", "the token %s, and more", "TOKEN=%s\n", `{"key":"%s"}`, "https://x:%s@host/", "my_%s", `token\u003d%s`, "\x1b[32m%s\x1b[0m", "(%s)", "a\n%s\nb"} {
			text := fmt.Sprintf(around, secret)
			got := r.Clean(text)
			if strings.Contains(got, secret[4:]) || strings.Contains(got, secret[len(secret)-8:]) || !strings.Contains(got, redacted) {
				t.Errorf("%s in %q: %q", name, around, got)
			}
		}
	}
}

func TestSecretsOfHTTPAreReplaced(t *testing.T) {
	t.Parallel()
	r := &Secrets{}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:hunter2"))
	for text, want := range map[string]string{
		"Authorization: Basic " + basic:                           "Authorization: Basic [redacted]",
		"http.extraheader=AUTHORIZATION: basic " + basic:          "http.extraheader=AUTHORIZATION: basic [redacted]",
		`"authorization": "Bearer ` + sample[:20] + `"`:           `"authorization": "Bearer [redacted]"`,
		"authorization: token " + sample[:20]:                     "authorization: [redacted]",
		"PRIVATE-TOKEN: " + sample[:20]:                           "PRIVATE-TOKEN: [redacted]",
		"x-api-key=" + sample[:20]:                                "x-api-key=[redacted]",
		"Basic YTpi":                                              "Basic [redacted]",
		"postgres://app:s3cret@db:5432/x":                         "postgres://[redacted]@db:5432/x",
		"https://" + sample[:30] + "@github.com/a/b":              "https://[redacted]@github.com/a/b",
		"DB_PASSWORD=" + sample[:16] + " HOME=/home/agent":        "DB_PASSWORD=[redacted] HOME=/home/agent",
		"AWS_SECRET_ACCESS_KEY='" + sample + "'":                  "AWS_SECRET_ACCESS_KEY='[redacted]'",
		"postgresql://app:p@ss@db:5432/x":                         "postgresql://[redacted]@db:5432/x",
		"redis://:hunter2hunter2@cache:6379/0":                    "redis://[redacted]@cache:6379/0",
		"postgres://db/x?user=app&password=hunter2hunter2":        "postgres://db/x?user=app&password=[redacted]",
		"host=db password=hunter2hunter2 dbname=x":                "host=db password=[redacted] dbname=x",
		"machine github.com login x password hunter2":             "machine github.com login x password [redacted]",
		"//registry.npmjs.org/:_authToken=" + sample[:36]:         "//registry.npmjs.org/:_authToken=[redacted]",
		"_auth=" + basic:                                          "_auth=[redacted]",
		`{"auths":{"ghcr.io":{"auth":"` + basic + `"}}}`:          `{"auths":{"ghcr.io":{"auth":"[redacted]"}}}`,
		"aws_secret_access_key = " + sample:                       "aws_secret_access_key = [redacted]",
		`{\"access_token\": \"` + sample + `\"}`:                  `{\"access_token\": \"[redacted]\"}`,
		"AccountName=x;AccountKey=" + sample + "==;Suffix=y":      "AccountName=x;AccountKey=[redacted];Suffix=y",
		"https://x.example/c?sv=2022&sig=" + sample + "%3D&x":     "https://x.example/c?sv=2022&sig=[redacted]&x",
		"https://hooks.slack.com/services/T01/B01/" + sample:      "https://hooks.slack.com/services[redacted]",
		`https:\/\/hooks.slack.com\/services\/T01\/` + sample:     `https:\/\/hooks.slack.com\/services[redacted]`,
		"https://discord.com/api/webhooks/123456/" + sample:       "https://discord.com/api/webhooks[redacted]",
		"api.telegram.org/bot1234567890:" + sample[:35] + "/x":    "api.telegram.org/[redacted]/x",
		"Set-Cookie: session=" + sample + "; Path=/; HttpOnly":    "Set-Cookie: session=[redacted]; Path=/; HttpOnly",
		`{"set-cookie": "sid=` + sample + `; Secure"}`:            `{"set-cookie": "sid=[redacted]; Secure"}`,
		"cookie: theme=dark; session=" + sample + "\nHost: x":     "cookie: [redacted]\nHost: x",
		"max_tokens: 1000, token: oauth2Client.token":             "max_tokens: 1000, token: oauth2Client.token",
		"password: at least 8 characters; auth: none":             "password: at least 8 characters; auth: none",
		"gsk_gl_shader_args_builder_set_float2 hf_hub_download_2": "gsk_gl_shader_args_builder_set_float2 hf_hub_download_2",
		"<div class=sk-toggleable__label-arrow-2>":                "<div class=sk-toggleable__label-arrow-2>",
		"Basic understanding of Bearer authentication is needed":  "Basic understanding of Bearer authentication is needed",
		"the authorization: see documentation":                    "the authorization: see documentation",
		"TOKEN=os.environ ghost_writer sk-learn-something-else":   "TOKEN=os.environ ghost_writer sk-learn-something-else",
		"git@github.com:acme/shop.git https://host:8080/a@b":      "git@github.com:acme/shop.git https://host:8080/a@b",
	} {
		if got := r.Clean(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestKnownValuesAreReplacedInPiecesToo(t *testing.T) {
	t.Parallel()
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
	body := strings.TrimSuffix(strings.Repeat(sample+"ABCDEFGHIJKLMNOPabcdefgh\n", 6), "\n")
	return made("-----BEGIN ", kind, "PRIVATE", " KEY-----\n", body, "\nMIIEpQ==\n-----END ", kind, "PRIVATE", " KEY-----\n")
}

func TestPrivateKeysAreReplacedWhole(t *testing.T) {
	t.Parallel()
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
			if strings.Contains(got, sample[:16]) || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "after\n") {
				t.Errorf("%s%s: %q", kind, name, got)
			}
		}
	}
}

// A secret in another encoding, as a Secret of Kubernetes, a header or a dump has it, is found in logs and files.
func TestEncodedSecretsAreFound(t *testing.T) {
	r := &Secrets{}
	r.Hide(token)
	github := made("gh", "s_", sample[:36])
	base := base64.StdEncoding
	for name, text := range map[string]string{
		"base64":              base.EncodeToString([]byte(token)),
		"base64 with newline": base.EncodeToString([]byte(token + "\n")),
		"base64 of a pair":    base.EncodeToString([]byte("x-access-token:" + token)),
		"base64, shifted":     base.EncodeToString([]byte("a" + token + "zz")),
		"base64, for URLs":    base64.RawURLEncoding.EncodeToString([]byte("?>" + token + "??>")),
		"base64 behind a run": "abc/" + base.EncodeToString([]byte(token)),
		"GitHub's in base64":  base.EncodeToString([]byte(github)),
		"hexadecimal":         hex.EncodeToString([]byte(token)),
		"HEXADECIMAL":         strings.ToUpper(hex.EncodeToString([]byte(github))),
		"hex behind a digit":  "0" + hex.EncodeToString([]byte(token)),
		"in percent":          percent(token),
	} {
		data := "data:\n  token: " + text + "\n  other: x\n"
		if got := r.Clean(data); strings.Contains(got, text[8:20]) || !strings.HasSuffix(got, "\n  other: x\n") {
			t.Errorf("%s: %q", name, got)
		}
		if got := r.Issued([]byte(data)); len(got) != 1 {
			t.Errorf("%s: found %q", name, got)
		}
	}
	for _, text := range []string{
		base.EncodeToString([]byte(pem(""))), "client-key-data: " + base.EncodeToString([]byte(pem("EC "))),
	} {
		if got := r.Clean(text); strings.Contains(got, text[len(text)-20:]) {
			t.Errorf("a private key in base64: %q", got)
		}
	}
	for _, plain := range []string{
		"sha256:" + strings.Repeat("0123456789abcdef", 4), base.EncodeToString([]byte("an ordinary sentence of a file")), "/usr/local/share/ca-certificates/extra",
		"https://example.com/a%20b%20c%20d%20e%20f%20g%20h%20i%20j%20k",
	} {
		if got := r.Clean(plain); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}

// base64 and xxd end a line after so many letters, in the middle of a value.
func TestAnEncodedValueInLinesIsFound(t *testing.T) {
	t.Parallel()
	r := &Secrets{}
	value := made("eyJ", "hbGciOiJSUzI1NiJ9", ".", strings.Repeat(sample, 4), ".", strings.Repeat("xYz1-", 12))
	r.Hide(value)
	lines := func(text string, width int) (all []string) {
		for ; len(text) > width; text = text[width:] {
			all = append(all, text[:width])
		}
		return all // without the end, which may be short
	}
	for name, encoded := range map[string][]string{
		"base64":  lines(base64.StdEncoding.EncodeToString([]byte("RUN_TOKEN="+value+"\n")), 76),
		"narrow":  lines(base64.StdEncoding.EncodeToString([]byte(value)), 50),
		"xxd -p":  lines(hex.EncodeToString([]byte(value)), 60),
		"percent": lines(percent(value), 90),
	} {
		text := strings.Join(encoded, "\n")
		got := r.Clean(text)
		for _, line := range encoded {
			if strings.Contains(got, line) {
				t.Errorf("%s: %q stays", name, line)
			}
		}
		if len(r.Issued([]byte(text))) == 0 {
			t.Errorf("%s is pushed in a file", name)
		}
	}
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func TestIssuedTokensAreFoundInFiles(t *testing.T) {
	t.Parallel()
	r := &Secrets{}
	r.Hide(token)
	forms := secretForms()
	wide := func(text string) string { return "\xff\xfe" + strings.Join(strings.Split(text, ""), "\x00") + "\x00" }
	for name, secret := range forms {
		if name != "JWT" && name != "Telegram" && !slices.Contains(r.Issued([]byte("x: "+secret+"\n")), secret) {
			t.Errorf("%s is pushed in a file", name)
		}
	}
	for text, want := range map[string][]string{
		"x = 1\n":                              nil,
		"x = " + token:                         {token},
		wide("x = " + token + "\r\n"):          {token},
		wide("x = '" + forms["npm"] + "'\r\n"): {forms["npm"]},
		"x = " + forms["GitHub installation, JWT"] + " y":     {forms["GitHub installation, JWT"]},
		"x = " + forms["npm"] + "\n" + forms["Slack bot"]:     {forms["Slack bot"], forms["npm"]},
		made("AKIA", "IOSFODNN7EXAMPLE"):                      nil, // of Amazon's documentation
		pem(""):                                               nil, // test keys are in many repositories
		"url = postgres://postgres:postgres@localhost/test\n": nil,
		"Authorization: Bearer " + sample[:20]:                nil,
	} {
		got := r.Issued([]byte(text))
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("secrets of %q (-want +got):\n%s", text, diff)
		}
	}
}
