package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/prompt"
)

// Described is a pull request's description without the marks around our part, which people do not see.
func Described(body string) string {
	return strings.TrimSpace(strings.NewReplacer(sectionBegin, "", sectionEnd, "").Replace(body))
}

// Checks are the results at a commit: statuses and check runs, as far as the credential may read them.
func (p *Requests) Checks(ctx context.Context, sha string) (checks []prompt.Check, err error) {
	statuses, err := attempt(ctx, p, func() (*gh.CombinedStatus, *gh.Response, error) {
		return p.client.Repositories.GetCombinedStatus(ctx, p.owner, p.name, sha, &gh.ListOptions{PerPage: 100})
	})
	if err != nil && !unreadable(err) {
		return nil, fmt.Errorf("reading the statuses of %s: %w", sha, err)
	}
	if err == nil {
		for _, s := range statuses.Statuses {
			checks = append(checks, prompt.Check{Name: s.GetContext(), State: s.GetState(), Said: s.GetDescription()})
		}
	}
	runs, err := attempt(ctx, p, func() (*gh.ListCheckRunsResults, *gh.Response, error) {
		return p.client.Checks.ListCheckRunsForRef(ctx, p.owner, p.name, sha, &gh.ListCheckRunsOptions{ListOptions: gh.ListOptions{PerPage: 100}})
	})
	if err != nil && !unreadable(err) {
		return nil, fmt.Errorf("reading the check runs of %s: %w", sha, err)
	}
	if err == nil {
		for _, c := range runs.CheckRuns {
			state := c.GetConclusion()
			if state == "" {
				state = c.GetStatus()
			}
			checks = append(checks, prompt.Check{Name: c.GetName(), State: state, Said: c.GetOutput().GetTitle()})
		}
	}
	return checks, nil
}

// unreadable says that this is none of the credential's business, or that GitHub knows no such commit.
func unreadable(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused)
}
