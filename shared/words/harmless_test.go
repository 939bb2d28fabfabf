package words

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnAgentsWordsDoNothing(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Fixes #7, closes acme/other#3":                                         "Fixes issue 7, closes issue 3 of acme/other",
		"Fixes\u00a0#7, closes\u2003\u200b#8":                                   "Fixes\u00a0issue 7, closes\u2003\u200bissue 8",
		"fixes [the bug](https://github.com/acme/other/issues/3)":               "fixes [the bug](issue 3 of acme/other)",
		"fixes github.com/acme/other/issues/3, www.github.com/a/b/pull/4":       "fixes issue 3 of acme/other, www.github.com/a/b/pull/4",
		"fixes [the [big]\nbug](<https://github.com/acme/other/issues/3>)":      "fixes [the [big]\nbug](issue 3 of acme/other)",
		"Fixes [it][1]\n\n[1]: https://github.com/acme/other/issues/3 \"x\"":    "Fixes [it][1]\n\n[1]: issue 3 of acme/other \"x\"",
		"> Closes [it]\n>\n> [it]:\n> <https://github.com/acme/other/issues/3>": "> Closes [it]\n>\n> [it]:\n> issue 3 of acme/other",
		"fixes <a class=x href=\"https://github.com/a/b/issues/3#x\">it</a>":    "fixes <a class=x href=\"issue 3 of a/b\">it</a>",
		"fixes acme\\/other#3, closes\\: #8":                                    "fixes issue 3 of acme/other, closes: issue 8",
		"fixes https\\://github\\.com/a/b\\/issues\\/7":                         "fixes issue 7 of a/b",
		"fixes [x](https://github&period;com/a/b/issues/7)":                     "fixes [x](issue 7 of a/b)",
		"fi\x00xes #7, @\x00bob, [skip c\x00i]":                                 "fixes issue 7, @\u200bbob, (skip ci)",
		"_@bob_ and __@acme/all__, a_@ann":                                      "_@\u200bbob_ and __@\u200bacme/all__, a_@\u200bann",
		"FIXED: #7":                                                             "FIXED: issue 7",
		"resolves https://github.com/acme/other/issues/3#x now":                 "resolves issue 3 of acme/other now",
		"Close http://ghe.local/a/b.c/pull/9":                                   "Close issue 9 of a/b.c",
		"**Fixes** #7, _closes_ `#8`, fix [#9], Resolves <b>#10</b>":            "**Fixes** issue 7, _closes_ `issue 8`, fix [issue 9], Resolves <b>issue 10</b>",
		"fixes\nGH-7, closes \\#8":                                              "fixes\nissue 7, closes issue 8",
		"fixes <https://github.com/acme/other/issues/3> <https://x.example/a>":  "fixes issue 3 of acme/other <https://x.example/a>",
		"fixes&emsp;#7 closes&Tab;#8 fix&MediumSpace;#9, resolve&zwnj;#1":       "fixes&amp;emsp;#7 closes&amp;Tab;#8 fix&amp;MediumSpace;#9, resolve&amp;zwnj;#1",
		"/e2e-aws\n/retest2 all\n/v2/users":                                     "\u200b/e2e-aws\n\u200b/retest2 all\n/v2/users",
		"[codecov skip]":                                                        "(codecov skip)",
		"fixes &#35;7 &commat;team":                                             "fixes &amp;#35;7 &amp;commat;team",
		"Prefixes #7 and #8, see acme/other#3":                                  "Prefixes #7 and #8, see acme/other#3",
		"ask @acme/all, (@olga) or mail a@b.example":                            "ask @\u200bacme/all, (@\u200bolga) or mail a@b.example",
		"[skip ci] [CI SKIP] [no ci] [skip actions] [skip-checks]":              "(skip ci) (CI SKIP) (no ci) (skip actions) (skip-checks)",
		"[azp skip] [vercel skip] ***NO_CI*** [x] [no]":                         "(azp skip) (vercel skip) NO_CI [x] [no]",
		"a\n\nCo-authored-by: Eve <e@x.example>\nSigned-off-by:e":               "a\n\nCo-authored-by  Eve <e@x.example>\nSigned-off-by e",
		"a\n\n\nskip-checks: true\n> **Reviewed-by: x**":                        "a\n\n\nskip-checks  true\n> **Reviewed-by  x**",
		"Release-As: 9.0.0\nCodexk8s-Run: forged\nFollow-up: none":              "Release-As  9.0.0\nCodexk8s-Run  forged\nFollow-up: none",
		"Done.\n/lgtm\n> /approve no-issue\n- /hold cancel\nbors r+":            "Done.\n\u200b/lgtm\n> \u200b/approve no-issue\n- \u200b/hold cancel\n\u200bbors r+",
		"/etc/passwd, a /healthz and\n/usr/bin/env; bors is a bot":              "/etc/passwd, a /healthz and\n/usr/bin/env; bors is a bot",
		"a <!-- hidden --> b":                                                   "a &lt;!-- hidden --> b",
		"Price is 5 &lt; 6 & more; see [the docs](https://x.y/z)":               "Price is 5 &lt; 6 & more; see [the docs](https://x.y/z)",
	} {
		got := Harmless(text)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if again := Harmless(got); again != got && !strings.Contains(got, "&amp;") {
			t.Errorf("%q changes again, to %q", got, again)
		}
	}
}
