package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/agentapi"
)

// pulls finds, opens and updates the run's pull request. GitHub itself refuses a second open pull request for the same
// head and base, and a restarted pod finds the first one by its head: so there is never a second.
type pulls struct {
	client   *github.Client
	owner    string
	name     string
	retryFor time.Duration
}

// newPulls fetches a credential for the API. It is as short-lived as the one for Git, so make one pulls per use.
func newPulls(ctx context.Context, gateway agentapi.SessionServiceClient, a *agentapi.Assignment, redact *redactor, retryFor time.Duration) (*pulls, error) {
	owner, name, ok := strings.Cut(a.GetRepository(), "/")
	if !ok {
		return nil, fmt.Errorf("the assignment's repository %q is not owner/name", a.GetRepository())
	}
	api, err := url.Parse(strings.TrimSuffix(a.GetGithubApiUrl(), "/") + "/")
	if err != nil || api.Host == "" {
		return nil, fmt.Errorf("the assignment's GitHub API URL %q is not a URL", a.GetGithubApiUrl())
	}
	credential, err := gateway.GetGitCredential(ctx, &agentapi.GetGitCredentialRequest{})
	if err != nil {
		return nil, fmt.Errorf("get a credential for the pull request: %w", err)
	}
	redact.hide(credential.GetPassword())
	client := github.NewClient(&http.Client{Timeout: time.Minute}).WithAuthToken(credential.GetPassword())
	client.BaseURL = api
	return &pulls{client: client, owner: owner, name: name, retryFor: retryFor}, nil
}

// find returns the open pull request of the branch, or nil.
func (p *pulls) find(ctx context.Context, branch string) (*github.PullRequest, error) {
	list, err := attempt(ctx, p.retryFor, func() ([]*github.PullRequest, *github.Response, error) {
		return p.client.PullRequests.List(ctx, p.owner, p.name, &github.PullRequestListOptions{
			State: "open", Head: p.owner + ":" + branch, ListOptions: github.ListOptions{PerPage: 100},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look for the pull request of %s: %w", branch, err)
	}
	// GitHub ignores a head it cannot read and then lists everything; so look for ourselves.
	at := slices.IndexFunc(list, func(pr *github.PullRequest) bool { return pr.GetHead().GetRef() == branch })
	if at < 0 {
		return nil, nil
	}
	return list[at], nil
}

// ensure opens the pull request, or brings the text of the open one up to date.
func (p *pulls) ensure(ctx context.Context, a *agentapi.Assignment, title, text string) (*github.PullRequest, error) {
	found, err := p.find(ctx, a.GetBranch())
	if err != nil {
		return nil, err
	}
	if found == nil {
		created, err := p.create(ctx, a, title, text)
		var refusal *github.ErrorResponse
		if err == nil || !errors.As(err, &refusal) || refusal.Response.StatusCode != http.StatusUnprocessableEntity {
			return created, err
		}
		// 422: it exists after all, opened by a call whose answer was lost or a moment ago by another pod.
		existing, findErr := p.find(ctx, a.GetBranch())
		if findErr != nil {
			return nil, findErr
		}
		if existing == nil {
			return nil, err
		}
		found = existing
	}
	body := withSection(found.GetBody(), text)
	if body == found.GetBody() {
		return found, nil
	}
	updated, err := attempt(ctx, p.retryFor, func() (*github.PullRequest, *github.Response, error) {
		return p.client.PullRequests.Edit(ctx, p.owner, p.name, found.GetNumber(), &github.PullRequest{Body: &body})
	})
	if err != nil {
		return nil, fmt.Errorf("update pull request #%d: %w", found.GetNumber(), err)
	}
	return updated, nil
}

func (p *pulls) create(ctx context.Context, a *agentapi.Assignment, title, text string) (*github.PullRequest, error) {
	created, err := attempt(ctx, p.retryFor, func() (*github.PullRequest, *github.Response, error) {
		return p.client.PullRequests.Create(ctx, p.owner, p.name, &github.NewPullRequest{
			Title: &title, Head: github.String(a.GetBranch()), Base: github.String(a.GetBaseBranch()),
			Body: github.String(withSection("", text)), MaintainerCanModify: github.Bool(true),
		})
	})
	if err != nil {
		return nil, fmt.Errorf("open the pull request: %w", err)
	}
	return created, nil
}

// Marks of our part of the description; people may write around it.
const (
	sectionBegin = "<!-- codexk8s:begin -->"
	sectionEnd   = "<!-- codexk8s:end -->"
)

// withSection puts text between our marks, in place of what stood there, and leaves the rest of body alone.
func withSection(body, text string) string {
	for _, mark := range []string{sectionBegin, sectionEnd} {
		text = strings.ReplaceAll(text, mark, "")
	}
	section := sectionBegin + "\n" + text + "\n" + sectionEnd
	before, rest, found := strings.Cut(body, sectionBegin)
	if !found {
		return strings.TrimLeft(strings.TrimRight(body, "\n")+"\n\n"+section, "\n")
	}
	_, after, _ := strings.Cut(rest, sectionEnd)
	return before + section + after
}

// attempt calls GitHub until it answers, waiting as long as it asks us to when it limits the rate
// (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api).
func attempt[T any](ctx context.Context, retryFor time.Duration, call func() (T, *github.Response, error)) (T, error) {
	return backoff.Retry(ctx, func() (T, error) {
		result, res, err := call()
		var primary *github.RateLimitError
		var secondary *github.AbuseRateLimitError
		switch {
		case err == nil:
			return result, nil
		case errors.As(err, &primary):
			return result, errors.Join(err, backoff.RetryAfter(int(time.Until(primary.Rate.Reset.Time)/time.Second)+1))
		case errors.As(err, &secondary):
			return result, errors.Join(err, backoff.RetryAfter(int(max(secondary.GetRetryAfter(), 5*time.Second)/time.Second)))
		case res == nil || res.StatusCode >= 500:
			return result, err
		}
		return result, backoff.Permanent(err)
	}, backoff.WithMaxElapsedTime(retryFor))
}

// finalGitHub says whether GitHub refused for a reason that a new pod would meet too.
func finalGitHub(err error) bool {
	var refusal *github.ErrorResponse
	return errors.As(err, &refusal) && refusal.Response != nil && refusal.Response.StatusCode < 500
}
