package main

import (
	"strings"
	"testing"

	"codexk8s.dev/shared/reason"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// TestGitHubsTroublesPass: the model's work is paid and pushed by the time that the pull request is opened, so that no
// answer that passes may end the run.
func TestGitHubsTroublesPass(t *testing.T) {
	t.Parallel()
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
			t.Parallel()
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
	t.Parallel()
	w := newWorld(t, "builtin")
	must(t, w.github.FailNext(fakegithub.Fault{
		Kind: "refusal", Requests: -1, Method: "POST", Path: "/pulls", Status: 422, Message: "Validation Failed",
		Errors: []any{map[string]any{"resource": "PullRequest", "field": "base", "code": "invalid"}},
	}))
	if code := w.exit(w.pod()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetReason() != reason.PullRequest || !strings.Contains(r.GetSummary(), "Validation Failed: PullRequest.base invalid") {
		t.Errorf("report %v", r)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
