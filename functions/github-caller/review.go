package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/functions/github-caller/internal/prereview"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/store"
)

// reviewRequested leaves a run's review on its pull request, and says so. The run waits for the answer, so a refusal is
// one too; only what may work later is tried again.
func (h *handler) reviewRequested(ctx context.Context, e event.Event, p events.GitHubReviewRequested) ([]event.Event, error) {
	if _, _, ok := strings.Cut(p.Repository, "/"); !ok || p.Issue <= 0 || p.PullRequest <= 0 || p.RunID == "" || p.Head == "" || p.Branch == "" {
		return nil, events.Malformed(fmt.Errorf("event %s: no review: run %q of %q #%d at %q", e.ID(), p.RunID, p.Repository, p.PullRequest, p.Head))
	}
	home, err := h.db.Repository(ctx, p.RepositoryID, p.Repository)
	if err != nil {
		return nil, err
	}
	r := &reviewing{handler: h, GitHubReviewRequested: p, home: home}
	r.owner, r.name, _ = strings.Cut(home.Name, "/")
	return h.db.Act(ctx, e, events.WorkItem(home.Key, p.Issue), r.carryOut)
}

// reviewing is one review being left.
type reviewing struct {
	*handler
	events.GitHubReviewRequested
	home        store.Repository
	owner, name string
	client      *github.Client
}

// carryOut leaves the review, and says so.
func (r *reviewing) carryOut(ctx context.Context) (events.Decision, error) {
	done, err := r.review(ctx)
	var limited *github.RateLimited
	var refused *github.Refused
	switch {
	case errors.As(err, &limited):
		return events.Decision{}, events.RetryAt(limited.Until, r.noteLimit(ctx, r.client, err))
	case errors.Is(err, store.ErrLocked):
		return events.Decision{}, events.RetryAt(r.db.Now().Add(2*time.Second), err)
	case errors.As(err, &refused):
		done.Reason, done.Message = reason.GitHubRefused, refused.Error()+"."
		if github.Gone(err) {
			done.Reason = reason.GitHubGone
		}
	case err != nil:
		return events.Decision{}, err
	}
	said := fmt.Sprintf("review %d of #%d at %s: %d on lines, %d in its summary", done.ReviewID, r.PullRequest, r.Head, done.OnLines, done.InSummary)
	if done.Reason != "" {
		said = done.Message
	}
	return events.Decision{
		Emit:  []events.Draft{events.Now(done)},
		Audit: []events.Record{{Actor: actor, Action: "github.reviewed", Run: r.RunID, Reason: done.Reason, Detail: said}},
	}, nil
}

// mark is the invisible last line of the run's review, by which we recognise it.
func (r *reviewing) mark() string { return "<!-- codexk8s:review " + r.RunID + " -->" }

// review leaves the review under the work item's lock. One that was left before, by a call whose answer was lost, is
// found by its mark.
func (r *reviewing) review(ctx context.Context) (done events.GitHubReviewed, err error) {
	done = events.GitHubReviewed{RunRef: r.RunRef, PullRequest: r.PullRequest, Head: r.Head}
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	if r.client, err = r.handler.client(ctx, r.home.Name); err != nil {
		return done, err
	}
	view, err := r.db.GitHubView(ctx, r.home.Key, r.Issue)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, view.Close(ctx)) }()
	pull, _, err := r.client.PullRequests.Get(ctx, r.owner, r.name, r.PullRequest)
	if err != nil {
		return done, github.ClassifyError(err, r.db.Now())
	}
	if head := pull.GetHead(); head.GetRef() != r.Branch || head.GetRepo().GetID() != pull.GetBase().GetRepo().GetID() {
		done.Reason, done.Message = reason.NotOurPullRequest, fmt.Sprintf("Pull request #%d is not of branch %s of this repository.", r.PullRequest, r.Branch)
		return done, nil
	}
	var patches map[string]string // of the commit that was read; GitHub shows those of the head
	if pull.GetHead().GetSHA() == r.Head {
		if patches, err = r.patches(ctx); err != nil {
			return done, err
		}
	}
	text := prereview.Make(r.Text, patches, r.end())
	left, err := r.find(ctx)
	if err == nil && left == nil {
		left, text, err = r.leave(ctx, text)
	}
	if err != nil {
		return done, err
	}
	done.ReviewID, done.URL, done.OnLines, done.InSummary = left.GetID(), left.GetHTMLURL(), len(text.Comments), text.Others
	return done, nil
}

// end says below the review what it is.
func (r *reviewing) end() string {
	return fmt.Sprintf("<sub>By an agent of the role `%s` (%s), of commit %.12s. It decides nothing: people approve, or request changes.</sub>\n\n%s", r.Role, r.Model, r.Head, r.mark())
}

// patches are the diffs of the changed files, by path.
// https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files
func (r *reviewing) patches(ctx context.Context) (map[string]string, error) {
	all, page := map[string]string{}, &gh.ListOptions{PerPage: 100}
	for {
		files, res, err := r.client.PullRequests.ListFiles(ctx, r.owner, r.name, r.PullRequest, page)
		if err != nil {
			return nil, github.ClassifyError(err, r.db.Now())
		}
		for _, f := range files {
			all[f.GetFilename()] = f.GetPatch()
		}
		if page.Page = res.NextPage; page.Page == 0 {
			return all, nil
		}
	}
}

// find looks for the run's review. Only our own count: anybody can copy the mark.
func (r *reviewing) find(ctx context.Context) (*gh.PullRequestReview, error) {
	login, err := r.clients.Login(ctx)
	if err != nil {
		return nil, err
	}
	page := &gh.ListOptions{PerPage: 100}
	for {
		reviews, res, err := r.client.PullRequests.ListReviews(ctx, r.owner, r.name, r.PullRequest, page)
		if err != nil {
			return nil, github.ClassifyError(err, r.db.Now())
		}
		for _, v := range reviews {
			if strings.EqualFold(v.GetUser().GetLogin(), login) && strings.HasSuffix(strings.TrimSpace(v.GetBody()), r.mark()) {
				return v, nil
			}
		}
		if page.Page = res.NextPage; page.Page == 0 {
			return nil, nil
		}
	}
}

// leave leaves the review. If GitHub finds a fault in the place of a comment, it takes none of it: then all findings
// stand in the summary.
// https://docs.github.com/en/rest/pulls/reviews#create-a-review-for-a-pull-request
func (r *reviewing) leave(ctx context.Context, v prereview.Review) (*gh.PullRequestReview, prereview.Review, error) {
	left, _, err := r.client.PullRequests.CreateReview(ctx, r.owner, r.name, r.PullRequest, request(v, r.Head))
	var refused *github.Refused
	if err = github.ClassifyError(err, r.db.Now()); errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity {
		v = prereview.Make(r.Text, nil, r.end())
		left, _, err = r.client.PullRequests.CreateReview(ctx, r.owner, r.name, r.PullRequest, request(v, ""))
	}
	return left, v, github.ClassifyError(err, r.db.Now())
}

// request is the review in GitHub's form, of a commit or, "", of the head.
func request(v prereview.Review, commit string) *gh.PullRequestReviewRequest {
	out := &gh.PullRequestReviewRequest{Body: &v.Body, Event: gh.String("COMMENT")}
	if commit != "" {
		out.CommitID = &commit
	}
	for _, c := range v.Comments {
		draft := &gh.DraftReviewComment{Path: &c.Path, Body: &c.Text, Line: &c.Last, Side: gh.String("RIGHT")}
		if c.First < c.Last {
			draft.StartLine, draft.StartSide = &c.First, gh.String("RIGHT")
		}
		out.Comments = append(out.Comments, draft)
	}
	return out
}
