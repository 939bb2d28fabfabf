package main

import (
	"context"
	"fmt"

	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/functions/agent-runner/internal/pull"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
)

// review has the engine read the pull request, and reports what it says of it. Nothing is pushed: what it changed in
// its checkout goes with the pod. The platform makes the review of it, on GitHub.
func (r *runner) review(ctx context.Context, stop context.CancelCauseFunc, a *agentapi.Assignment) (*agentapi.ReportRequest, error) {
	p, err := pull.New(ctx, r.reader, a, r.secrets, r.env.RetryFor)
	if err != nil {
		return nil, err
	}
	found, err := p.Find(ctx, a.GetBranch())
	if err != nil {
		return nil, pull.Failure(err)
	}
	if found == nil {
		return nil, &outcome.Failure{Reason: reason.PullRequestMissing, Summary: fmt.Sprintf("There is no open pull request of branch `%s` to review. Reopen it, then set the label again.", a.GetBranch())}
	}
	a.PullRequest = int32(found.GetNumber())
	r.pull = &prompt.Pull{Title: found.GetTitle(), Body: pull.Described(found.GetBody())}
	if r.pull.Checks, err = p.Checks(ctx, found.GetHead().GetSHA()); err != nil {
		return nil, pull.Failure(err)
	}
	repo, err := r.checkout(ctx, a)
	if err != nil {
		return nil, err
	}
	if repo.Branch == "" {
		return nil, &outcome.Failure{Reason: reason.PullRequestMissing, Summary: fmt.Sprintf("Branch `%s` was deleted, so there is nothing to review.", a.GetBranch())}
	}
	done, err := r.think(ctx, stop, a, repo)
	if err != nil {
		return nil, err
	}
	return &agentapi.ReportRequest{
		Outcome: "succeeded", Summary: done.summary, Branch: a.GetBranch(), HeadSha: repo.Head,
		PullRequest: a.GetPullRequest(), PullRequestUrl: found.GetHTMLURL(), ThreadId: done.threadID,
	}, nil
}
