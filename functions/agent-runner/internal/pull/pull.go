// Package pull is the run's pull request on GitHub: its text, and the reviews of it.
package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/redact"
)

// Requests finds, opens and updates the run's pull request. GitHub refuses a second open pull request for the same head
// and base, and a restarted pod finds the first one by its head, so there is never a second.
type Requests struct {
	gateway  agentapi.SessionServiceClient
	secrets  *redact.Secrets
	api      string // base URL of GitHub's REST API
	client   *github.Client
	owner    string
	name     string
	retryFor time.Duration
}

// New fetches a credential for the API. It is as short-lived as the one for Git, so make one Requests per use.
func New(ctx context.Context, gateway agentapi.SessionServiceClient, a *agentapi.Assignment, secrets *redact.Secrets, retryFor time.Duration) (*Requests, error) {
	owner, name, ok := strings.Cut(a.GetRepository(), "/")
	if !ok {
		return nil, fmt.Errorf("the assignment's repository %q is not owner/name", a.GetRepository())
	}
	p := &Requests{gateway: gateway, secrets: secrets, api: a.GetGithubApiUrl(), owner: owner, name: name, retryFor: retryFor}
	return p, p.renew(ctx)
}

// renew fetches a new credential.
func (p *Requests) renew(ctx context.Context) error {
	credential, err := p.gateway.GetGitCredential(ctx, &agentapi.GetGitCredentialRequest{})
	if err != nil {
		return fmt.Errorf("getting a credential for the pull request: %w", err)
	}
	p.secrets.Hide(credential.GetPassword())
	clients, err := github.Open(github.Config{URL: p.api, Token: credential.GetPassword(), Timeout: time.Minute})
	if err != nil {
		return fmt.Errorf("using the assignment's GitHub API: %w", err)
	}
	p.client, err = clients.For(ctx, p.owner+"/"+p.name)
	return err
}

// Find returns the open pull request of the branch, or nil.
func (p *Requests) Find(ctx context.Context, branch string) (*gh.PullRequest, error) {
	list, err := all(ctx, p, func(page gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return p.client.PullRequests.List(ctx, p.owner, p.name, &gh.PullRequestListOptions{State: "open", Head: p.owner + ":" + branch, ListOptions: page})
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the pull request of %s: %w", branch, err)
	}
	// GitHub ignores a head it cannot read and then lists everything, forks' branches of that name too; so look for
	// ourselves.
	at := slices.IndexFunc(list, func(pr *gh.PullRequest) bool {
		return pr.GetHead().GetRef() == branch && pr.GetHead().GetRepo().GetID() == pr.GetBase().GetRepo().GetID()
	})
	if at < 0 {
		return nil, nil
	}
	return list[at], nil
}

// Ensure opens the pull request, as a draft if wanted, or brings the text of the open one up to date.
func (p *Requests) Ensure(ctx context.Context, a *agentapi.Assignment, summary string, draft bool) (*gh.PullRequest, error) {
	found, err := p.Find(ctx, a.GetBranch())
	if err != nil {
		return nil, err
	}
	if found == nil {
		created, err := p.create(ctx, a, summary, draft)
		var refused *github.Refused
		if draft && errors.As(err, &refused) && noDrafts(refused) {
			created, err = p.create(ctx, a, summary, false)
		}
		if err == nil || !errors.As(err, &refused) || refused.Status != http.StatusUnprocessableEntity {
			return created, err
		}
		// 422: it exists after all, opened by a call whose answer was lost, or just now by another pod.
		existing, findErr := p.Find(ctx, a.GetBranch())
		if findErr != nil {
			return nil, findErr
		}
		if existing == nil {
			return nil, err
		}
		found = existing
	}
	text := body(found.GetBody(), a, summary)
	if text == found.GetBody() {
		return found, nil
	}
	updated, err := attempt(ctx, p, func() (*gh.PullRequest, *gh.Response, error) {
		return p.client.PullRequests.Edit(ctx, p.owner, p.name, found.GetNumber(), &gh.PullRequest{Body: &text})
	})
	if err != nil {
		return nil, fmt.Errorf("updating pull request #%d: %w", found.GetNumber(), err)
	}
	return updated, nil
}

// noDrafts reports whether the repository's plan has no drafts, as for private repositories without a paid one.
// https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/proposing-changes-to-your-work-with-pull-requests/about-pull-requests#draft-pull-requests
func noDrafts(r *github.Refused) bool {
	return r.Status == http.StatusUnprocessableEntity && strings.Contains(r.Message, "Draft pull requests are not supported")
}

func (p *Requests) create(ctx context.Context, a *agentapi.Assignment, summary string, draft bool) (*gh.PullRequest, error) {
	title := p.secrets.Clean(title(a))
	created, err := attempt(ctx, p, func() (*gh.PullRequest, *gh.Response, error) {
		return p.client.PullRequests.Create(ctx, p.owner, p.name, &gh.NewPullRequest{
			Title: &title, Head: gh.String(a.GetBranch()), Base: gh.String(a.GetBaseBranch()),
			Body: gh.String(body("", a, summary)), MaintainerCanModify: gh.Bool(true), Draft: gh.Bool(draft),
		})
	})
	if err != nil {
		return nil, fmt.Errorf("opening the pull request: %w", err)
	}
	return created, nil
}

// all reads a list to its end.
func all[T any](ctx context.Context, p *Requests, list func(gh.ListOptions) ([]T, *gh.Response, error)) (whole []T, err error) {
	page := gh.ListOptions{PerPage: 100}
	for {
		next := 0
		some, err := attempt(ctx, p, func() ([]T, *gh.Response, error) {
			some, res, err := list(page)
			if err == nil {
				next = res.NextPage
			}
			return some, res, err
		})
		if err != nil {
			return nil, err
		}
		whole = append(whole, some...)
		if page.Page = next; next == 0 {
			return whole, nil
		}
	}
}

// maxDoubts is how often a new credential is tried if the old one may be at fault: 1, 2 and 4 seconds apart, because a
// new token needs a moment to be known everywhere at GitHub.
const maxDoubts = 3

// attempt calls GitHub until it answers, and waits as long as a rate limit demands. github.ClassifyError says what is
// worth another try.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
func attempt[T any](ctx context.Context, p *Requests, call func() (T, *gh.Response, error)) (T, error) {
	doubts := 0
	return backoff.Retry(ctx, func() (T, error) {
		result, _, err := call()
		err = github.ClassifyError(err, time.Now())
		var limited *github.RateLimited
		switch {
		case err == nil:
			return result, nil
		case errors.As(err, &limited):
			return result, errors.Join(err, backoff.RetryAfter(p.pause(limited)))
		case unseen(err) && doubts < maxDoubts:
			doubts++
			return result, errors.Join(err, backoff.RetryAfter(1<<(doubts-1)))
		case github.Doubtful(err) && doubts < maxDoubts:
			if renewed := p.renew(ctx); renewed != nil {
				return result, backoff.Permanent(renewed) // the gateway was asked patiently
			}
			doubts++
			return result, errors.Join(err, backoff.RetryAfter(1<<(doubts-1)))
		case final(err):
			return result, backoff.Permanent(err)
		}
		return result, err
	}, backoff.WithMaxElapsedTime(p.retryFor))
}

// unseen says whether GitHub refuses a pull request because the part that answers does not know the branch yet, or not
// since the latest push.
func unseen(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity &&
		(strings.Contains(refused.Message, "PullRequest.head invalid") || strings.Contains(refused.Message, "No commits between"))
}

// pause is how many seconds a limit is waited for. If GitHub named no time, it is a part of the run's patience.
func (p *Requests) pause(limited *github.RateLimited) int {
	wait := time.Until(limited.Until)
	if limited.Guessed {
		wait = min(wait, p.retryFor/4)
	}
	return int(wait/time.Second) + 1
}

// Failure is the run's failure when GitHub refused, else err.
func Failure(err error) error {
	if final(err) {
		return &outcome.Failure{Reason: reason.PullRequest, Summary: fmt.Sprintf("GitHub refused: %v. Check that the platform's app or token may write contents and pull requests of this repository.", err)}
	}
	return err
}

// final says whether GitHub refused for a reason that a new pod would meet too.
func final(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused) || github.Doubtful(err)
}
