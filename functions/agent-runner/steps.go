package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/agentapi"
)

// carryOut takes the run from assignment to pull request. Every error is either a *failure or temporary.
func (r *runner) carryOut(ctx context.Context, stop context.CancelCauseFunc, a *agentapi.Assignment) (*agentapi.ReportRequest, error) {
	allowed, err := compileScope(a.GetWriteScope())
	if err != nil {
		return nil, &failure{reasonAssignment, err.Error() + "; repair the role's write scope"}
	}
	if err := r.needCredential(ctx); err != nil {
		return nil, err
	}
	if a.GetRevise() {
		if err := r.needPull(ctx, a); err != nil {
			return nil, err
		}
	}
	repo, at, err := r.checkout(ctx, a)
	if err != nil {
		return nil, err
	}
	pushed, message, err := repo.pushedBy(ctx, at, a.GetRunId())
	if err != nil {
		return nil, err
	}
	done := &finished{at: at, commit: pushed, summary: withoutTrailers(message)}
	if pushed == "" {
		if done, err = r.think(ctx, stop, a, repo, at); err != nil {
			return nil, err
		}
		if err := r.check(ctx, a, repo, allowed, done); err != nil {
			return nil, err
		}
		if err := r.push(ctx, a, repo, done); err != nil {
			return nil, err
		}
	} else {
		r.log.say("An earlier pod of this run has pushed %.12s already.", pushed)
		done.commit = at.branch
		if done.changed, err = repo.changed(ctx, repo.mergeBase(ctx, at.base, at.branch), at.branch); err != nil {
			return nil, err
		}
	}
	return r.openPull(ctx, a, done)
}

// finished is the engine's work on its way to the pull request.
type finished struct {
	at       checkedOut
	summary  string
	threadID string
	commit   string   // head of the branch after the push
	changed  []string // paths, against the base branch
}

// needCredential asks for a credential before Git does, because Git cannot tell why there is none.
func (r *runner) needCredential(ctx context.Context) error {
	_, err := r.gateway.GetGitCredential(ctx, &agentapi.GetGitCredentialRequest{})
	if connect.CodeOf(err) == connect.CodeFailedPrecondition {
		return &failure{reasonRepository, err.Error()}
	}
	if err != nil {
		return fmt.Errorf("get a Git credential: %w", err)
	}
	return nil
}

// needPull makes sure that there is something to revise.
func (r *runner) needPull(ctx context.Context, a *agentapi.Assignment) error {
	p, err := newPulls(ctx, r.gateway, a, r.redact, r.env.RetryFor)
	if err != nil {
		return err
	}
	found, err := p.find(ctx, a.GetBranch())
	if err != nil {
		return githubFailure(err)
	}
	if found == nil {
		return &failure{reasonNoPull, fmt.Sprintf("There is no open pull request of branch `%s` to revise. Start with the stage's plain label instead, or reopen the pull request.", a.GetBranch())}
	}
	a.PullRequest = int32(found.GetNumber())
	if a.Review, err = p.review(ctx, found.GetNumber(), a.GetReview()); err != nil {
		return githubFailure(err)
	}
	return nil
}

func githubFailure(err error) error {
	if finalGitHub(err) {
		return &failure{reasonPull, fmt.Sprintf("GitHub refused: %v. Check that the platform's app or token may write contents and pull requests of this repository.", err)}
	}
	return err
}

func (r *runner) checkout(ctx context.Context, a *agentapi.Assignment) (*repository, checkedOut, error) {
	r.enter(phaseClone)
	repo, err := newRepository(r.env, a.GetCloneUrl(), r.redact)
	if err != nil {
		return nil, checkedOut{}, err
	}
	at, err := repo.open(ctx, a.GetBaseBranch(), a.GetBranch())
	var g *gitError
	switch {
	case errors.Is(err, errNoBase):
		return nil, at, &failure{reasonNoBase, fmt.Sprintf("The base branch `%s` does not exist in %s. Create it, or correct the project's base branch.", a.GetBaseBranch(), a.GetRepository())}
	case errors.As(err, &g) && ctx.Err() == nil && !transientGit(err) && (g.command == "ls-remote" || g.command == "fetch"):
		return nil, at, &failure{reasonRepository, fmt.Sprintf("The repository could not be read: %v. Check that it exists and that the platform's app or token may read it.", err)}
	case err != nil:
		return nil, at, err
	}
	from := "base branch " + a.GetBaseBranch()
	if at.branch != "" {
		from = "the branch on the server"
	}
	r.log.say("Checked out %s, branch %s at %.12s from %s.", a.GetRepository(), a.GetBranch(), at.head, from)
	return repo, at, nil
}

// check finds out what was changed and whether that was allowed. done.commit becomes a commit that holds the changes,
// or the head we began with when there are none but earlier ones.
func (r *runner) check(ctx context.Context, a *agentapi.Assignment, repo *repository, allowed scope, done *finished) error {
	r.enter(phaseCheck)
	head := done.at.head
	tree, err := repo.tree(ctx, head)
	if err != nil {
		return err
	}
	base := repo.mergeBase(ctx, done.at.base, head)
	if done.changed, err = repo.changed(ctx, base, tree); err != nil {
		return err
	}
	if out := allowed.outside(done.changed); len(out) > 0 {
		return &failure{reasonWriteScope, scopeSummary(out, a.GetWriteScope())}
	}
	before, err := repo.treeOf(ctx, head)
	switch {
	case err != nil:
		return fmt.Errorf("read the commit that the run began with: %w", err)
	case tree == before && head == base:
		return &failure{reasonNoChanges, strings.TrimSpace("The agent changed no file. Its last message:\n\n" + done.summary)}
	case tree == before:
		r.log.say("No new changes; the branch has earlier ones.")
		done.commit = head
		return nil
	}
	done.commit, err = repo.commit(ctx, tree, head, commitMessage(a, done.summary))
	return err
}

// maxNamed bounds the files named in a summary.
const maxNamed = 20

func scopeSummary(out, globs []string) string {
	var b strings.Builder
	b.WriteString("The agent changed files outside of its write scope, so nothing was pushed:\n\n")
	for i, p := range out {
		if i == maxNamed {
			fmt.Fprintf(&b, "- … and %d more\n", len(out)-i)
			break
		}
		fmt.Fprintf(&b, "- `%s`\n", p)
	}
	b.WriteString("\nAllowed are: `" + strings.Join(globs, "`, `") + "`.")
	return b.String()
}

func (r *runner) push(ctx context.Context, a *agentapi.Assignment, repo *repository, done *finished) error {
	r.enter(phasePush)
	if done.commit == done.at.branch {
		return nil // there already
	}
	commit, err := repo.push(ctx, a.GetBaseBranch(), a.GetBranch(), done.commit)
	switch {
	case errors.Is(err, errPushConflict):
		return &failure{reasonPushConflict, fmt.Sprintf("Branch `%s` was changed by somebody else while the agent worked, and the agent's changes could not be put on top: %v. Merge by hand, or run the stage again.", a.GetBranch(), err)}
	case errors.Is(err, errPushRejected):
		return &failure{reasonPushRejected, fmt.Sprintf("%v. Check the branch rules of `%s`, and whether the platform's app may change workflow files.", err, a.GetBranch())}
	case err != nil:
		return err
	}
	done.commit = commit
	r.log.say("Pushed %.12s to %s.", commit, a.GetBranch())
	return nil
}

func (r *runner) openPull(ctx context.Context, a *agentapi.Assignment, done *finished) (*agentapi.ReportRequest, error) {
	r.enter(phasePull)
	p, err := newPulls(ctx, r.gateway, a, r.redact, r.env.RetryFor)
	if err != nil {
		return nil, err
	}
	var pr *gh.PullRequest
	if pr, err = p.ensure(ctx, a, r.redact.clean(pullTitle(a)), r.redact.clean(done.summary)); err != nil {
		return nil, githubFailure(err)
	}
	r.log.say("Pull request #%d: %s", pr.GetNumber(), pr.GetHTMLURL())
	return &agentapi.ReportRequest{
		Outcome: "succeeded", Summary: r.redact.clean(done.summary), Branch: a.GetBranch(), HeadSha: done.commit,
		PullRequest: int32(pr.GetNumber()), PullRequestUrl: pr.GetHTMLURL(), ThreadId: done.threadID, ChangedFiles: done.changed,
	}, nil
}
