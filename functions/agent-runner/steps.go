package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/functions/agent-runner/internal/pull"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/scope"
)

// carryOut takes the run from assignment to pull request, to the review of one, or to an answer in a discussion. Every
// error is either an *outcome.Failure or temporary.
func (r *runner) carryOut(ctx context.Context, stop context.CancelCauseFunc, a *agentapi.Assignment) (*agentapi.ReportRequest, error) {
	allowed, err := scope.Compile(a.GetWriteScope())
	if err != nil {
		return nil, &outcome.Failure{Reason: reason.Assignment, Summary: err.Error() + "; repair the role's write scope"}
	}
	if err := r.needCredential(ctx); err != nil {
		return nil, err
	}
	switch kindOf(a) {
	case events.KindReview:
		return r.review(ctx, stop, a)
	case events.KindDiscussion:
		return r.say(ctx, stop, a)
	case events.KindRevise:
		if err := r.needPull(ctx, a); err != nil {
			return nil, err
		}
	}
	repo, err := r.checkout(ctx, a)
	if err != nil {
		return nil, err
	}
	pushed, message, err := repo.PushedBy(ctx, a.GetRunId())
	if err != nil {
		return nil, err
	}
	if pushed != "" && pushed != a.GetReturned().GetCommit() {
		r.log.Say("An earlier pod of this run has pushed %.12s already.", pushed)
		return r.openPull(ctx, a, &finished{commit: repo.Branch, summary: withoutTrailers(message), changed: repo.Pushed()})
	}
	done, err := r.think(ctx, stop, a, repo)
	if err != nil {
		return nil, err
	}
	if err := r.check(ctx, a, repo, allowed, done); err != nil {
		return nil, err
	}
	if err := r.push(ctx, a, repo, done); err != nil {
		return nil, err
	}
	return r.openPull(ctx, a, done)
}

// say has the engine read the repository, and reports its answer to what was said. The status comment lists by itself
// what the issue hides.
func (r *runner) say(ctx context.Context, stop context.CancelCauseFunc, a *agentapi.Assignment) (*agentapi.ReportRequest, error) {
	repo, err := r.checkout(ctx, a)
	if err != nil {
		return nil, err
	}
	done, err := r.think(ctx, stop, a, repo)
	if err != nil {
		return nil, err
	}
	summary := strings.Replace(done.summary, r.harmless(hiddenNote(prompt.Hidden(a.GetIssueTitle(), a.GetIssueBody()))), "", 1)
	return &agentapi.ReportRequest{Outcome: "succeeded", Summary: r.secrets.Clean(summary), ThreadId: done.threadID}, nil
}

// finished is the engine's work, to become the pull request.
type finished struct {
	summary  string
	threadID string
	notes    []string // Markdown: what could not be taken of an earlier pod's files
	lost     []string // Markdown: changed files of an earlier pod that are gone
	commit   string   // head of the branch after the push
	changed  []string // paths, against the base branch
}

// needCredential asks for a credential before Git does, because Git cannot tell why there is none.
func (r *runner) needCredential(ctx context.Context) error {
	_, err := r.reader.GetGitCredential(ctx, &agentapi.GetGitCredentialRequest{})
	if connect.CodeOf(err) == connect.CodeFailedPrecondition {
		return &outcome.Failure{Reason: reason.RepositoryAccess, Summary: err.Error()}
	}
	if err != nil {
		return fmt.Errorf("getting a Git credential: %w", err)
	}
	return nil
}

// kindOf is what the run does. A gateway of the release before says only whether it is a revise.
func kindOf(a *agentapi.Assignment) events.Kind {
	switch {
	case a.GetKind() != "":
		return events.Kind(a.GetKind())
	case a.GetRevise():
		return events.KindRevise
	}
	return events.KindWork
}

// needPull makes sure that there is something to revise.
func (r *runner) needPull(ctx context.Context, a *agentapi.Assignment) error {
	p, err := pull.New(ctx, r.reader, a, r.secrets, r.env.RetryFor)
	if err != nil {
		return err
	}
	found, err := p.Find(ctx, a.GetBranch())
	if err != nil {
		return pull.Failure(err)
	}
	if found == nil {
		return &outcome.Failure{Reason: reason.PullRequestMissing, Summary: fmt.Sprintf("There is no open pull request of branch `%s` to revise. Start with the stage's plain label instead, or reopen the pull request.", a.GetBranch())}
	}
	a.PullRequest = int32(found.GetNumber())
	if a.Review, err = p.Review(ctx, found.GetNumber(), a.GetReview()); err != nil {
		return pull.Failure(err)
	}
	return nil
}

// access fetches a credential for the run's repository whenever git talks to the server, as the environment that the
// helper reads. Through r.gateway it may write, which is only for when the agent's processes are gone.
func (r *runner) access(from agentapi.SessionServiceClient, cloneURL string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) { return r.credential(ctx, from, cloneURL) }
}

func (r *runner) credential(ctx context.Context, from agentapi.SessionServiceClient, cloneURL string) ([]string, error) {
	got, err := from.GetGitCredential(ctx, &agentapi.GetGitCredentialRequest{})
	if err != nil {
		return nil, fmt.Errorf("getting a Git credential: %w", err)
	}
	r.secrets.Hide(got.GetPassword())
	return checkout.Credential(cloneURL, got.GetUsername(), got.GetPassword()), nil
}

func (r *runner) checkout(ctx context.Context, a *agentapi.Assignment) (*checkout.Repository, error) {
	r.enter(phaseClone)
	options, err := r.env.repository(a.GetCloneUrl())
	if err != nil {
		return nil, err
	}
	options.Access, options.Clean, options.Secrets = r.access(r.reader, a.GetCloneUrl()), r.secrets.Clean, r.secrets.Issued
	options.From = a.GetBaseCommit()
	repo, err := checkout.Open(ctx, options, a.GetBaseBranch(), a.GetBranch())
	var refused *checkout.Refused
	switch {
	case errors.Is(err, checkout.ErrNoBase):
		return nil, &outcome.Failure{Reason: reason.BaseBranchMissing, Summary: fmt.Sprintf("The base branch `%s` does not exist in %s. Create it, or correct the project's base branch.", a.GetBaseBranch(), a.GetRepository())}
	case errors.Is(err, checkout.ErrInWay):
		return nil, inWay(err)
	case errors.As(err, &refused):
		return nil, &outcome.Failure{Reason: reason.RepositoryAccess, Summary: fmt.Sprintf("The repository could not be read: %v. Check that it exists and that the platform's app or token may read it.", err)}
	case err != nil:
		return nil, err
	}
	if repo.Branch == "" {
		r.base.Store(repo.Head)
	}
	from := "base branch " + a.GetBaseBranch()
	if repo.Branch != "" {
		from = "the branch on the server"
	}
	r.log.Say("Checked out %s, branch %s at %.12s from %s.", a.GetRepository(), a.GetBranch(), repo.Head, from)
	return repo, nil
}

func inWay(err error) error {
	return &outcome.Failure{Reason: reason.PushRejected, Summary: fmt.Sprintf("The agent's branch cannot be made: %v. Delete or rename the other one, then run the stage again.", err)}
}

// openPull opens the pull request, or brings it up to date; a new one of work that is not complete is a draft.
func (r *runner) openPull(ctx context.Context, a *agentapi.Assignment, done *finished) (*agentapi.ReportRequest, error) {
	r.enter(phasePull)
	p, err := pull.New(ctx, r.gateway, a, r.secrets, r.env.RetryFor)
	if err != nil {
		return nil, err
	}
	missing, err := r.unfinished(a)
	if err != nil {
		return nil, err
	}
	done.summary += incomplete(missing)
	var pr *gh.PullRequest
	if pr, err = p.Ensure(ctx, a, r.secrets.Clean(done.summary), len(missing) > 0); err != nil {
		return nil, pull.Failure(err)
	}
	r.log.Say("Pull request #%d: %s", pr.GetNumber(), pr.GetHTMLURL())
	// The status comment, which quotes the summary, lists what the issue hides by itself.
	summary := strings.Replace(done.summary, r.harmless(hiddenNote(prompt.Hidden(a.GetIssueTitle(), a.GetIssueBody()))), "", 1)
	return &agentapi.ReportRequest{
		Outcome: "succeeded", Summary: r.secrets.Clean(summary), Branch: a.GetBranch(), HeadSha: done.commit,
		PullRequest: int32(pr.GetNumber()), PullRequestUrl: pr.GetHTMLURL(), ThreadId: done.threadID, ChangedFiles: r.reported(done.changed), Incomplete: len(missing) > 0,
	}, nil
}
