package pull

import (
	"strings"
	"testing"
	"unicode/utf8"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/words"
)

func TestOurPartOfThePullRequestIsReplaced(t *testing.T) {
	t.Parallel()
	first := withSection("", "one")
	if want := sectionBegin + "\none\n" + sectionEnd; first != want {
		t.Errorf("got %q", first)
	}
	if got, want := withSection("by hand\n\n"+first+"\nafter", "two"), "by hand\n\n"+sectionBegin+"\ntwo\n"+sectionEnd+"\nafter"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := withSection("by hand", "x"+sectionEnd), "by hand\n\n"+sectionBegin+"\nx\n"+sectionEnd; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestThePullRequestsDescriptionHoldsAPersonsWordsAndOurs(t *testing.T) {
	t.Parallel()
	a := &agentapi.Assignment{IssueNumber: 1, RunId: "r", Stage: "dev", Role: "dev"}
	const way = "Closes #1"
	person := strings.Repeat("ü", 32_000)
	for name, c := range map[string]struct {
		body, summary string
		ours          bool
	}{
		"short":                         {"by hand", "done", true},
		"ours is too long for the rest": {person, "First. " + strings.Repeat("x", 48_000) + " Last.", true},
		"again, in place of itself":     {body(person, a, strings.Repeat("y", 20_000)), "First. " + strings.Repeat("🚀", 48_000) + " Last.", true},
		"next to no room for ours":      {strings.Repeat("ü", maxBody-300), strings.Repeat("x", 1000), true},
		"no room":                       {strings.Repeat("ü", maxBody-10), "done", false},
	} {
		got := body(c.body, a, c.summary)
		if n := utf8.RuneCountInString(got); n > maxBody {
			t.Errorf("%s: %d characters", name, n)
		}
		theirs, _, _ := strings.Cut(c.body, sectionBegin)
		if !strings.HasPrefix(got, strings.TrimSpace(theirs)) || strings.Contains(got, way) != c.ours || strings.Count(got, sectionBegin) > 1 {
			t.Errorf("%s: %.80q … %.200q", name, got, got[max(0, len(got)-200):])
		}
		if strings.HasPrefix(c.summary, "First.") && (!strings.Contains(got, "First. ") || !strings.Contains(got, words.CutMark) || !strings.Contains(got, " Last.\n\n"+way)) {
			t.Errorf("%s: not the middle was cut: %.200q", name, got[max(0, len(got)-200):])
		}
	}
	if got := withSection("before\n\n"+sectionBegin+"\nold\n\nafter, and the end mark is gone", "new"); !strings.HasPrefix(got, "before\n\n\nold\n\nafter, and the end mark is gone\n\n"+sectionBegin+"\nnew\n") {
		t.Errorf("a person's words are lost: %q", got)
	}
}

// What a cut joins, or brings to the beginning of a line, would act.
func TestACutOfTheDescriptionBringsNothingToLife(t *testing.T) {
	t.Parallel()
	a := &agentapi.Assignment{IssueNumber: 1, IssueTitle: "\u2003/approve\u0085fixes\u0085#7", RunId: "r", Stage: "dev", Role: "dev"}
	const line = "see /approve now, prefixes #7, mail a@bob.example, a Reviewed-by: b, &#35;7 <b>\n"
	person := strings.Repeat("ü", maxBody-800)
	for shift := range line {
		got := strings.TrimPrefix(body(person, a, strings.Repeat(line[shift:]+line[:shift], 20)), person+"\n\n"+sectionBegin+"\n")
		ours, way, _ := strings.Cut(got, "\n\nCloses #1")
		if safe(ours) != ours || way == "" {
			t.Errorf("at %d: %q", shift, got)
		}
	}
	if got, want := title(a), "\u200b/approve fixes issue 7 (#1)"; got != want {
		t.Errorf("the title is %q", got)
	}
}

// What a summary leaves open would make code of the line that closes the issue.
func TestTheDescriptionsEndIsRead(t *testing.T) {
	t.Parallel()
	a := &agentapi.Assignment{IssueNumber: 1, RunId: "r", Stage: "dev", Role: "dev"}
	for summary, want := range map[string]string{"```go\nx": "```go\nx\n```", "a <details>": "a &lt;details>", "a\n    ```\nb": "> a\n>     ```\n> b"} {
		if got := body("", a, summary); !strings.HasPrefix(got, sectionBegin+"\n"+want+"\n\nCloses #1") {
			t.Errorf("%q: %q", summary, got)
		}
	}
}
