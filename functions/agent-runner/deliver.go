package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/functions/agent-runner/internal/pull"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/words"
)

// check finds out what was changed and whether it may be pushed. done.commit becomes a commit with the changes, or the
// head we began with if there are no new ones.
func (r *runner) check(ctx context.Context, a *agentapi.Assignment, repo *checkout.Repository, allowed scope.Scope, done *finished) error {
	r.enter(phaseCheck)
	work, err := repo.Take(ctx, checkout.MaxFile)
	switch {
	case errors.Is(err, checkout.ErrGone), errors.Is(err, checkout.ErrTooMany):
		return &outcome.Failure{Reason: reason.PushRejected, Summary: fmt.Sprintf("Nothing was pushed: %v.", err)}
	case err != nil:
		return err
	}
	done.changed = work.Changed
	done.notes = union(done.notes, work.Notes)
	if out := allowed.Outside(work.Changed); len(out) > 0 {
		return &outcome.Failure{Reason: reason.WriteScope, Summary: scopeSummary(out, a.GetWriteScope())}
	}
	if why := unfit(work); why != "" {
		return &outcome.Failure{Reason: reason.PushRejected, Summary: why}
	}
	switch {
	case work.New:
	case len(done.lost) > 0:
		return &outcome.Failure{Reason: reason.NoChanges, Summary: fmt.Sprintf("There is nothing to push: an earlier pod of this run was lost, and with it %s; the agent did not make them again. Its last message:\n\n%s",
			strings.Join(done.lost, ", "), done.summary)}
	case len(work.Changed) == 0:
		return &outcome.Failure{Reason: reason.NoChanges, Summary: noChanges(repo.Left(ctx), done)}
	default:
		r.log.Say("No new changes; the branch has earlier ones.")
		done.commit = repo.Head
		return nil
	}
	if len(done.notes) > 0 {
		done.summary = r.harmless(done.summary + "\n\nOf the agent's files:\n\n" + words.List(done.notes)) // names are the agent's, too
	}
	done.commit, err = repo.Commit(ctx, work, r.secrets.Clean(commitMessage(a, done.summary)))
	return err
}

// unfit says why the work must not or could not be pushed, with the files' names; empty if it may.
func unfit(work *checkout.Work) string {
	for _, c := range []struct {
		files []string
		why   string
	}{
		{work.Secret, "These files hold a secret, the run's own or one that only its issuer makes, so nothing was pushed. Take it out of them; if it is a real one, replace it:"},
		{work.Large, "These files are larger than the 100 MB that GitHub takes, so nothing was pushed. Remove them, or have Git ignore them:"},
		{work.Filters, "These files go through a filter that agents do not have, so nothing was pushed. Change them by hand, or have the agent leave them alone:"},
	} {
		if len(c.files) > 0 {
			return c.why + "\n\n" + words.List(c.files)
		}
	}
	return ""
}

func noChanges(left []string, done *finished) string {
	text := "The agent changed no file."
	if len(left) > 0 {
		text += " It left commits on " + strings.Join(left, ", ") + ", but only the files in its folder count."
	}
	if len(done.notes) > 0 {
		text += " Of its files:\n\n" + words.List(done.notes)
	}
	return strings.TrimSpace(text + "\n\nIts last message:\n\n" + done.summary)
}

// union is a and what only b has.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// maxReported bounds the changed files of a report.
const maxReported = 5000

// reported writes paths for the report.
func (r *runner) reported(paths []string) []string {
	var out []string
	for _, p := range paths[:min(len(paths), maxReported)] {
		out = append(out, r.secrets.Clean(checkout.Shown(p)))
	}
	return out
}

func scopeSummary(out, globs []string) string {
	var named []string
	for _, p := range out {
		named = append(named, checkout.Code(p))
	}
	return "The agent changed files outside of its write scope, so nothing was pushed:\n\n" + words.List(named) +
		"\n\nAllowed are: `" + strings.Join(globs, "`, `") + "`."
}

func (r *runner) push(ctx context.Context, a *agentapi.Assignment, repo *checkout.Repository, done *finished) error {
	r.enter(phasePush)
	if done.commit == repo.Branch {
		return nil // there already
	}
	if kindOf(a) == events.KindRevise {
		if err := r.stillOpen(ctx, a); err != nil {
			return err
		}
	}
	repo.Access = r.access(r.gateway, a.GetCloneUrl()) // the agent's processes are gone
	commit, err := repo.Push(ctx, a.GetBaseBranch(), done.commit)
	var refused *checkout.Refused
	switch {
	case errors.Is(err, checkout.ErrConflict):
		return &outcome.Failure{Reason: reason.PushConflict, Summary: fmt.Sprintf("Branch `%s` was changed by somebody else while the agent worked, and the agent's changes could not be put on top: %v. Merge by hand, or run the stage again.", a.GetBranch(), err)}
	case errors.Is(err, checkout.ErrDeleted):
		return &outcome.Failure{Reason: reason.PushConflict, Summary: fmt.Sprintf("Branch `%s` was deleted while the agent worked, as after a merge, so nothing was pushed. Run the stage again, on what the base branch holds now.", a.GetBranch())}
	case errors.Is(err, checkout.ErrInWay):
		return inWay(err)
	case errors.As(err, &refused) && refused.Access:
		return &outcome.Failure{Reason: reason.RepositoryAccess, Summary: fmt.Sprintf("GitHub refused the push to %s. Check that the repository is there and not archived, and that the platform's app or token may write to it. GitHub says:\n\n%s", a.GetRepository(), words.Quote(refused.Words))}
	case errors.As(err, &refused):
		return &outcome.Failure{Reason: reason.PushRejected, Summary: fmt.Sprintf("GitHub refused the push. Check the branch rules of `%s`, and whether the platform's app may change workflow files. GitHub says:\n\n%s", a.GetBranch(), words.Quote(refused.Words))}
	case err != nil:
		return err
	}
	done.commit = commit
	r.log.Say("Pushed %.12s to %s.", commit, a.GetBranch())
	return nil
}

// stillOpen checks once more before the push that there is a pull request to revise: a push after its merge would bring
// back commits that are in the base already.
func (r *runner) stillOpen(ctx context.Context, a *agentapi.Assignment) error {
	p, err := pull.New(ctx, r.reader, a, r.secrets, r.env.RetryFor)
	if err != nil {
		return err
	}
	found, err := p.Find(ctx, a.GetBranch())
	switch {
	case err != nil:
		return pull.Failure(err)
	case found == nil:
		return &outcome.Failure{Reason: reason.PullRequestMissing, Summary: fmt.Sprintf("Pull request #%d was merged or closed while the agent worked, so its new changes were not pushed. Start with the stage's plain label instead.", a.GetPullRequest())}
	}
	return nil
}
