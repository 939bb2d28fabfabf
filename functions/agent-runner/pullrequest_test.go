package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"codexk8s.dev/shared/agentapi"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// TestGitHubsTroublesPass: the model's work is paid and pushed by the time that the pull request is opened, so that no answer
// that passes may end the run.
func TestGitHubsTroublesPass(t *testing.T) {
	refusal := func(method string, status int, message string, errors ...any) fakegithub.Fault {
		return fakegithub.Fault{Kind: "refusal", Method: method, Path: "/pulls", Status: status, Message: message, Errors: errors}
	}
	quickly := map[string]any{"resource": "PullRequest", "code": "custom", "message": "was submitted too quickly"}
	for name, fault := range map[string]fakegithub.Fault{
		"a token that is too new, reading":         refusal("GET", 401, "Bad credentials"),
		"a token that is too new, writing":         refusal("POST", 401, "Bad credentials"),
		"a permission that is still to come":       refusal("POST", 403, "Resource not accessible by integration"),
		"a repository that is still to come":       refusal("POST", 404, "Not Found"),
		"a limit as 429":                           {Kind: "secondary", Status: 429, RetryAfter: 1, Method: "GET", Path: "/pulls"},
		"a limit told by words alone":              refusal("POST", 403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."),
		"a limit on what is created":               refusal("POST", 403, "You have been temporarily blocked from content creation. Please retry your request again later."),
		"too quickly":                              refusal("POST", 422, "Validation Failed", quickly),
		"an outage":                                {Kind: "outage", Method: "POST", Path: "/pulls"},
		"a conflict with something else under way": refusal("POST", 409, "Conflict"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "builtin")
			if err := w.github.FailNext(fault); err != nil {
				t.Fatal(err)
			}
			if code := w.exit(w.pod()); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.finishedOnce()
		})
	}
}

func TestWhatGitHubRefusesForGoodIsSaidInItsWords(t *testing.T) {
	w := newWorld(t, "builtin")
	must(t, w.github.FailNext(fakegithub.Fault{
		Kind: "refusal", Requests: -1, Method: "POST", Path: "/pulls", Status: 422, Message: "Validation Failed",
		Errors: []any{map[string]any{"resource": "PullRequest", "field": "base", "code": "invalid"}},
	}))
	if code := w.exit(w.pod()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetReason() != reasonPull || !strings.Contains(r.GetSummary(), "Validation Failed: PullRequest.base invalid") {
		t.Errorf("report %v", r)
	}
}

func TestThePullRequestsDescriptionHoldsAPersonsWordsAndOurs(t *testing.T) {
	a := &agentapi.Assignment{IssueNumber: 1, RunId: "r", Stage: "dev", Role: "dev"}
	const way = "Closes #1"
	person := strings.Repeat("ü", 32_000)
	for name, c := range map[string]struct {
		body, summary string
		ours          bool
	}{
		"short":                         {"by hand", "done", true},
		"ours is too long for the rest": {person, "First. " + strings.Repeat("x", 48_000) + " Last.", true},
		"again, in place of itself":     {pullBody(person, a, strings.Repeat("y", 20_000)), "First. " + strings.Repeat("🚀", 48_000) + " Last.", true},
		"next to no room for ours":      {strings.Repeat("ü", maxPullBody-300), strings.Repeat("x", 1000), true},
		"no room":                       {strings.Repeat("ü", maxPullBody-10), "done", false},
	} {
		got := pullBody(c.body, a, c.summary)
		if n := utf8.RuneCountInString(got); n > maxPullBody {
			t.Errorf("%s: %d characters", name, n)
		}
		theirs, _, _ := strings.Cut(c.body, sectionBegin)
		if !strings.HasPrefix(got, strings.TrimSpace(theirs)) || strings.Contains(got, way) != c.ours || strings.Count(got, sectionBegin) > 1 {
			t.Errorf("%s: %.80q … %.200q", name, got, got[max(0, len(got)-200):])
		}
		if strings.HasPrefix(c.summary, "First.") && (!strings.Contains(got, "First. ") || !strings.Contains(got, cutMark) || !strings.Contains(got, " Last.\n\n"+way)) {
			t.Errorf("%s: not the middle was cut: %.200q", name, got[max(0, len(got)-200):])
		}
	}
	if got := withSection("before\n\n"+sectionBegin+"\nold\n\nafter, and the end mark is gone", "new"); !strings.HasPrefix(got, "before\n\n\nold\n\nafter, and the end mark is gone\n\n"+sectionBegin+"\nnew\n") {
		t.Errorf("a person's words are lost: %q", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
