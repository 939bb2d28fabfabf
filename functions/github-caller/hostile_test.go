package main

import (
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/test/hostile"
)

func TestHostileEvents(t *testing.T) {
	f := setup(t)
	clients, err := github.Open(github.Config{URL: f.github.APIURL(), AppID: f.github.AppID(), AppKey: f.github.AppPrivateKey()})
	must(t, err)
	s := serve.New("github-caller", f.sink)
	(&handler{db: f.db, clients: clients, send: s.Send}).routes(s)
	p := f.change(func(p *events.GitHubChangeRequested) { p.On = []string{"bug"}; comment("told", 1)(p) })
	p.Status = &events.CommitStatus{SHA: f.sha, State: "success", Context: "codexk8s/dev"}
	hostile.Function{Name: "github-caller", Handler: s.Handler(), DB: f.db, SQL: f.sql}.Hear(t, hostile.Templates(t, p,
		events.GitHubLookupRequested{RunRef: events.RunRef{RunID: p.RunID, Project: "demo", Repository: repo, Issue: f.issue}, Path: "services.yaml", Ref: "main"},
		events.GitHubReviewRequested{RunRef: events.RunRef{RunID: p.RunID, Project: "demo", Repository: repo, Issue: f.issue}, PullRequest: f.reviewing("`search.go:3` x").PullRequest,
			Branch: issueBranch, Head: f.sha, Role: "reviewer", Text: "Fit.\n\n## Findings\n- `search.go:3` x"},
		events.ToolApproved{RunRef: events.RunRef{RunID: p.RunID, Project: "demo", Repository: repo, Issue: f.issue}, Tool: "labels_add", Arguments: []byte(`{"add":["bug"],"on":"issue"}`)}))
}
