package pull

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v66/github"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/webhook"
)

// maxRemarks is how many of a review's comments the agent gets; a prompt holds no more.
const maxRemarks = 300

// Review completes the review in the assignment: GitHub sends a review's inline comments in separate events, so they
// are read here, as far as they are of the time when the run was asked for. Without a review in the assignment (the run
// was started by label, and the platform has heard of no review) it is the newest one that requests changes and that
// whoever set the label could see; nil if there is none.
func (p *Requests) Review(ctx context.Context, pull int, known *agentapi.Review) (*agentapi.Review, error) {
	if known.GetId() == 0 && known.GetBody() == "" {
		newest, err := p.newestReview(ctx, pull, known.GetBefore())
		if err != nil || newest == nil {
			return nil, err
		}
		known = newest
	}
	if known.GetId() == 0 || len(known.GetComments()) > 0 {
		return known, nil
	}
	remarks, err := all(ctx, p, func(page gh.ListOptions) ([]*gh.PullRequestComment, *gh.Response, error) {
		return p.client.PullRequests.ListReviewComments(ctx, p.owner, p.name, pull, known.GetId(), &page)
	})
	if err != nil {
		return known, fmt.Errorf("reading the comments of review %d: %w", known.GetId(), err)
	}
	for _, c := range remarks[:min(len(remarks), maxRemarks)] {
		body := c.GetBody()
		if known.GetBefore() != nil && c.GetUpdatedAt().After(known.GetBefore().AsTime().Add(publishing)) {
			body = editedSince
		}
		known.Comments = append(known.Comments, &agentapi.ReviewComment{
			Path: c.GetPath(), Line: int32(c.GetLine()), Author: c.GetUser().GetLogin(), Body: body, DiffHunk: c.GetDiffHunk(),
		})
	}
	return known, nil
}

// publishing is how much later than a review its comments may be stamped by GitHub.
const publishing = 10 * time.Second

// editedSince stands for a comment that was edited after the run was asked for. GitHub's API keeps no earlier text.
const editedSince = "(This comment was edited after this run was asked for, so it is left out. What it said before is not known.)"

// newestReview is the newest one that requests changes, not later than before; nil = of any time.
func (p *Requests) newestReview(ctx context.Context, pull int, before *timestamppb.Timestamp) (*agentapi.Review, error) {
	list, err := all(ctx, p, func(page gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return p.client.PullRequests.ListReviews(ctx, p.owner, p.name, pull, &page)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the reviews of pull request #%d: %w", pull, err)
	}
	for _, r := range slices.Backward(list) { // oldest first, as GitHub lists them
		if before != nil && r.GetSubmittedAt().After(before.AsTime()) {
			continue
		}
		if strings.EqualFold(r.GetState(), "CHANGES_REQUESTED") && webhook.Insider(r.GetAuthorAssociation()) {
			return &agentapi.Review{Id: r.GetID(), Author: r.GetUser().GetLogin(), Body: r.GetBody(), Before: before}, nil
		}
	}
	return nil, nil
}
