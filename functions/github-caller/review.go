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
	key := events.WorkItem(home.Key, p.Issue)
	return h.db.Act(ctx, e, key, func(ctx context.Context) (events.Decision, error) {
		r := &reviewing{GitHubReviewRequested: p, now: h.db.Now, login: h.clients.Login}
		r.owner, r.name, _ = strings.Cut(home.Name, "/")
		done, err := h.review(ctx, home, r)
		var limited *github.RateLimited
		var refused *github.Refused
		switch {
		case errors.As(err, &limited):
			return events.Decision{}, events.RetryAt(limited.Until, h.noteLimit(ctx, r.client, err))
		case errors.Is(err, store.ErrLocked):
			return events.Decision{}, events.RetryAt(h.db.Now().Add(2*time.Second), err)
		case errors.As(err, &refused):
			done.Reason, done.Message = reason.GitHubRefused, refused.Error()+"."
			if github.Gone(err) {
				done.Reason = reason.GitHubGone
			}
		case err != nil:
			return events.Decision{}, err
		}
		said := fmt.Sprintf("review %d of #%d at %s: %d on lines, %d in its summary", done.ReviewID, p.PullRequest, p.Head, done.OnLines, done.InSummary)
		if done.Reason != "" {
			said = done.Message
		}
		return events.Decision{
			Emit:  []events.Draft{events.Now(done)},
			Audit: []events.Record{{Actor: actor, Action: "github.reviewed", Run: p.RunID, Reason: done.Reason, Detail: said}},
		}, nil
	})
}

// reviewing is one review being left.
type reviewing struct {
	events.GitHubReviewRequested
	owner, name string
	now         func() time.Time
	login       func(context.Context) (string, error)
	client      *github.Client
}

// mark is the invisible last line of the run's review, by which we recognise it.
func (r *reviewing) mark() string { return "<!-- codexk8s:review " + r.RunID + " -->" }

// review leaves the review under the work item's lock. One that was left before, by a call whose answer was lost, is
// found by its mark.
func (h *handler) review(ctx context.Context, home store.Repository, r *reviewing) (done events.GitHubReviewed, err error) {
	done = events.GitHubReviewed{RunRef: r.RunRef, PullRequest: r.PullRequest, Head: r.Head}
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	if r.client, err = h.client(ctx, home.Name); err != nil {
		return done, err
	}
	view, err := h.db.GitHubView(ctx, home.Key, r.Issue)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, view.Close(ctx)) }()
	pull, _, err := r.client.PullRequests.Get(ctx, r.owner, r.name, r.PullRequest)
	if err != nil {
		return done, github.ClassifyError(err, r.now())
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
			return nil, github.ClassifyError(err, r.now())
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
	login, err := r.login(ctx)
	if err != nil {
		return nil, err
	}
	page := &gh.ListOptions{PerPage: 100}
	for {
		reviews, res, err := r.client.PullRequests.ListReviews(ctx, r.owner, r.name, r.PullRequest, page)
		if err != nil {
			return nil, github.ClassifyError(err, r.now())
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
	left, err := r.create(ctx, v, r.Head)
	var refused *github.Refused
	if errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity {
		v = prereview.Make(r.Text, nil, r.end())
		left, err = r.create(ctx, v, "")
	}
	return left, v, err
}

func (r *reviewing) create(ctx context.Context, v prereview.Review, commit string) (*gh.PullRequestReview, error) {
	request := &gh.PullRequestReviewRequest{Body: &v.Body, Event: gh.String("COMMENT")}
	if commit != "" {
		request.CommitID = &commit
	}
	for _, c := range v.Comments {
		draft := &gh.DraftReviewComment{Path: &c.Path, Body: &c.Text, Line: &c.Last, Side: gh.String("RIGHT")}
		if c.First < c.Last {
			draft.StartLine, draft.StartSide = &c.First, gh.String("RIGHT")
		}
		request.Comments = append(request.Comments, draft)
	}
	left, _, err := r.client.PullRequests.CreateReview(ctx, r.owner, r.name, r.PullRequest, request)
	return left, github.ClassifyError(err, r.now())
}
