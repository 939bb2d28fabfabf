package stage

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/project"
	agent "codexk8s.dev/shared/words"
)

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"Done.":                                "> Done.",
		"Usage:\n\n```go\nGreet()":             "> Usage:\n>\n> ```go\n> Greet()",
		"# A heading\n| a | b |\n---":          "> # A heading\n> | a | b |\n> ---",
		"<!-- TODO: more":                      "> &lt;!-- TODO: more",
		"<details><summary>log</summary>":      "> &lt;details>&lt;summary>log&lt;/summary>",
		"a < b, a <3, x<-y":                    "> a < b, a <3, x<-y",
		"Thanks @everyone, @acme/admins":       "> Thanks @\u200beveryone, @\u200bacme/admins",
		"_@bob_ __@acme/all__":                 "> _@\u200bbob_ __@\u200bacme/all__",
		"ann@example.com":                      "> ann@example.com",
		"(@bob) `@carol`":                      "> (@\u200bbob) `@\u200bcarol`",
		"&#64;alice &commat;bob &lt;b> a && b": "> &amp;#64;alice &amp;commat;bob &amp;lt;b> a && b",
		"one\r\ntwo\rthree\x00\x1b[0m\n\n\n":   "> one\n> two\n> three[0m",
		"<!-- codexk8s:status acme/demo#1 -->": "> &lt;!-- codexk8s:status acme/demo#1 -->",
	} {
		if diff := cmp.Diff(want, quote(text, 1000)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// A cut brings nothing to the beginning of a line that a bot would obey.
func TestACutQuotationGivesNoCommand(t *testing.T) {
	const line = "see /approve now, /approve no-issue\n"
	for shift := range line {
		if got := quote(strings.Repeat(line[shift:]+line[:shift], 20), 300); agent.Commands(got) || utf8.RuneCountInString(got) > 300 {
			t.Errorf("cut at %d, it commands:\n%s", shift, got)
		}
	}
}

func TestCode(t *testing.T) {
	for name, want := range map[string]string{
		"run:dev": "`run:dev`", "a`b": "`` a`b ``", "``": "``` `` ```", "two\nlines": "`two lines`",
	} {
		if got := code(name); got != want {
			t.Errorf("%q is shown as %s, want %s", name, got, want)
		}
	}
}

// offer is what may follow dev.
const offer = `
What may follow, by its label:

- ` + "`run:dev:revise`" + `: Reworks the pull request
- ` + "`run:qa`" + `: Plans the tests, runs them and says what came of it
- ` + "`need:reviewer`" + ` on the pull request: An agent reviews it
- ` + "`run:rethink`" + `: Says which earlier decisions no longer hold, and where to begin again
- ` + "`run:doc-audit`" + `: Compares code, documents and checklists
`

// Whatever others write, the comment fits, calls nobody, leaves nothing open, and shows the table and the way on.
func TestACommentSurvivesWhatIsInIt(t *testing.T) {
	p := Default()
	rapid.Check(t, func(r *rapid.T) {
		piece := rapid.SampledFrom([]string{
			"word ", "@alice ", "&#64;bob", "\n", "\n\n", "```", "~~~", "<!--", "-->", "<details>", "</blockquote>", "<table>", "| a |\n|---|\n",
			"# ", "> ", "- ", "\x00", "é", "🚀", "[x]: /y\n", "<!-- codexk8s:status acme/demo#1 -->", "&lt;", "\\", "`", strings.Repeat("long ", 30_000),
		})
		text := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(r, "text"), "")
		item := Item{Repository: "acme/demo", Issue: 1, Pulls: []Pull{{Number: 2, Stage: "dev", Branch: "codexk8s/issue-1"}}, Run: &Run{
			ID: "r", Stage: "dev", State: Succeeded, Engine: "codex", Model: "m", RequestedBy: "alice", Message: text, Summary: text,
		}}
		comment := Comment(p, item)
		if n := utf8.RuneCountInString(comment); n > 65_000 {
			r.Fatalf("it has %d characters", n)
		}
		if plain.Unmention(comment) != comment || strings.Contains(comment, "<!--") {
			r.Fatalf("it calls somebody, or hides what follows:\n%s", comment)
		}
		ours := "\n\n| | |\n|---|---|\n| Pull request | #2 |\n| Asked for by | alice |\n| Agent | codex, m, reasoning  |\n| Run | `r` |\n\n" +
			"Review the pull request: *Request changes* starts `run:dev:revise`, and so does the label.\n"
		comment, offered := strings.CutSuffix(comment, offer)
		before, found := strings.CutSuffix(comment, ours)
		if !found || !offered {
			r.Fatalf("the way on is lost:\n%s", comment)
		}
		for line := range strings.Lines(strings.TrimPrefix(before+"\n", "### `run:dev`: done, ready for review\n")) {
			if line != "\n" && !strings.HasPrefix(line, ">") {
				r.Fatalf("%q is not quoted", line)
			}
		}
	})
}

// An answer has the length of a comment, and a run may have many: the way on stays.
func TestLongAnswersLeaveTheWayOn(t *testing.T) {
	r := &Run{ID: "r", Stage: "dev", State: Succeeded, Summary: strings.Repeat("s", roomForSummary)}
	for n := range 20 {
		long := strings.Repeat(fmt.Sprintf("%d, `really` @alice ", n), 500)
		r.Asks = append(r.Asks, Ask{Digest: "0123456", Title: long, Answer: &Answer{Outcome: "answered", By: []string{"alice"}, Text: long}, Result: &Result{Text: long}})
	}
	comment := Comment(Default(), Item{Repository: "acme/demo", Issue: 1, Pulls: []Pull{{Number: 2, Stage: "dev", Branch: "codexk8s/issue-1"}}, Run: r})
	if n := utf8.RuneCountInString(comment); n > 65_000 {
		t.Errorf("it has %d characters", n)
	}
	if !strings.HasSuffix(comment, "Review the pull request: *Request changes* starts `run:dev:revise`, and so does the label.\n"+offer) {
		t.Errorf("the way on is lost: …%s", comment[len(comment)-300:])
	}
}

// GitHub's tables end a cell at a bar, also in code; a branch may have one in its name.
func TestABranchIsOneCell(t *testing.T) {
	item := Item{BaseBranch: "a|b", Run: &Run{Stage: "dev", State: Running, BaseCommit: "0123456789"}}
	if got, want := Comment(Default(), item), "\n| Based on | `0123456` of `a\\|b` |\n"; !strings.Contains(got, want) {
		t.Errorf("the comment lacks %q:\n%s", want, got)
	}
}

func TestWhatIsCutIsTheMiddle(t *testing.T) {
	text := "The beginning. " + strings.Repeat("<b>@all</b>\n", 10_000) + " The end."
	got := quote(text, 5000)
	if n := utf8.RuneCountInString(got); n > 5000 || n < 3000 {
		t.Errorf("%d characters", n)
	}
	if !strings.HasPrefix(got, "> The beginning.") || !strings.HasSuffix(got, " The end.") || !strings.Contains(got, "(left out)") {
		t.Errorf("%.100s … %s", got, got[len(got)-100:])
	}
}

// TestWhoStandsForATextSeesAllOfIt: what the issue's page does not show stands in the comment, from the label on.
func TestWhoStandsForATextSeesAllOfIt(t *testing.T) {
	p, now := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for policy, fate := range map[string]string{"": "It is marked for the agent", project.DropHidden: "It is left out of the agent's task"} {
		item := Item{Repository: "acme/demo", Issue: 1, Project: &Project{ID: "demo", SenderRole: access.Maintainer, Settings: project.Settings{HiddenText: policy}}, Process: p}
		body := "Round up.<!-- `push` to\nmain @bob -->\n\nThanks\u200b." + strings.Repeat("\n<!-- x -->", 3)
		for n := range maxHidden {
			body += fmt.Sprintf("\n[//]: # (%d)", n)
		}
		item, _, err := Decide(item, Labeled{Issue: Issue{Title: "T", Body: body, Labels: []string{"run:dev"}}, Label: "run:dev", Sender: Person{Login: "alice"}, Delivery: "i"}, now)
		if err != nil {
			t.Fatal(err)
		}
		shown := Comment(p, item)
		for _, want := range []string{fate, "\n- `` <!-- `push` to main @bob --> ``\n", "\n- `<!-- x -->`\n", "\n- `\\u{200B}`\n", "\n- … and 3 more\n"} {
			if !strings.Contains(shown, want) {
				t.Errorf("%q: the comment lacks %q:\n%s", policy, want, shown)
			}
		}
	}
}
