package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
)

// delivered looks at the commit that a run has left: where it stands, and what the repository's checks say of it.
func (l *lookout) delivered(ctx context.Context, pull *gh.PullRequest) (err error) {
	if pull == nil {
		return nil
	}
	if l.found.Tip, err = l.tip(ctx, pull); err != nil {
		return err
	}
	if l.found.Apart, err = l.apart(ctx); err != nil {
		return err
	}
	required, err := l.required(ctx, pull.GetBase().GetRef())
	if err != nil || len(required) == 0 {
		return err
	}
	l.found.Checks, err = l.checks(ctx, l.Head, required)
	return err
}

// tip is the commit that the branch is at. GitHub may show that of a moment ago.
func (l *lookout) tip(ctx context.Context, pull *gh.PullRequest) (string, error) {
	tip := pull.GetHead().GetSHA()
	if tip == l.Head || pull.GetState() != "open" {
		return tip, nil
	}
	ref, _, err := l.client.Git.GetRef(ctx, l.owner, l.name, "heads/"+l.Branch)
	if err == nil {
		tip = ref.GetObject().GetSHA()
	} else if err = github.ClassifyError(err, l.db.Now()); !github.Gone(err) {
		return "", err
	}
	if tip != l.Head && l.fresh() {
		return "", fmt.Errorf("%w: %s is at %s", errFresh, l.Branch, tip)
	}
	return tip, nil
}

// fresh reports whether GitHub may not know yet what the agent has pushed.
func (l *lookout) fresh() bool { return l.db.Now().Sub(l.asked) < settling }

// apart reports whether the commit does not descend from the run's base.
// https://docs.github.com/en/rest/commits/commits#compare-two-commits
func (l *lookout) apart(ctx context.Context) (bool, error) {
	if l.Base == "" {
		return false, nil
	}
	way, _, err := l.client.Repositories.CompareCommits(ctx, l.owner, l.name, l.Base, l.Head, &gh.ListOptions{PerPage: 1})
	switch err = github.ClassifyError(err, l.db.Now()); {
	case github.Gone(err) && l.fresh():
		return false, fmt.Errorf("%w: %s", errFresh, l.Head)
	case github.Gone(err): // no common ancestor, or no such commit
		return true, nil
	case err != nil:
		return false, err
	}
	return way.GetStatus() != "ahead" && way.GetStatus() != "identical", nil
}

// A requirement is a check that must pass before something is merged.
type requirement struct {
	Context string `json:"context"`
	App     *int64 `json:"integration_id"` // the one that must report it; nil or -1 = any
}

// required are the checks that the branch requires, by its protection and by rulesets; but not ours, which wait for the
// run. Both are shown to whoever may read the repository. An older GitHub Enterprise Server knows no rulesets.
// https://docs.github.com/en/rest/branches/branches#get-a-branch
// https://docs.github.com/en/rest/repos/rules#get-rules-for-a-branch
func (l *lookout) required(ctx context.Context, branch string) (all []requirement, err error) {
	add := func(r requirement) {
		if !strings.HasPrefix(r.Context, events.StatusPrefix) && !slices.ContainsFunc(all, func(o requirement) bool { return o.Context == r.Context }) {
			all = append(all, r)
		}
	}
	var refused *github.Refused
	is := new(gh.Branch)
	switch err := l.get(ctx, fmt.Sprintf("repos/%s/%s/branches/%s", l.owner, l.name, url.PathEscape(branch)), is); {
	case errors.As(err, &refused):
	case err != nil:
		return nil, err
	}
	if checks := is.GetProtection().GetRequiredStatusChecks(); checks != nil {
		if checks.Checks != nil {
			for _, c := range *checks.Checks {
				add(requirement{c.Context, c.AppID})
			}
		}
		if checks.Contexts != nil {
			for _, c := range *checks.Contexts {
				add(requirement{Context: c})
			}
		}
	}
	var rules []struct {
		Type       string          `json:"type"`
		Parameters json.RawMessage `json:"parameters"`
	}
	switch err := l.get(ctx, fmt.Sprintf("repos/%s/%s/rules/branches/%s?per_page=100", l.owner, l.name, url.PathEscape(branch)), &rules); {
	case errors.As(err, &refused):
	case err != nil:
		return nil, err
	}
	for _, rule := range rules {
		var is struct {
			Checks []requirement `json:"required_status_checks"`
		}
		if rule.Type != "required_status_checks" || json.Unmarshal(rule.Parameters, &is) != nil {
			continue
		}
		for _, c := range is.Checks {
			add(c)
		}
	}
	return all, nil
}

// get reads what go-github has no fitting type for.
func (l *lookout) get(ctx context.Context, path string, into any) error {
	req, err := l.client.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", path, err)
	}
	_, err = l.client.Do(ctx, req, into)
	return github.ClassifyError(err, l.db.Now())
}

// checks are how the required ones stand at the commit. Where the App may not read check runs, nobody can say how those
// stand that no status tells of, and they are not waited for: GitHub holds the merge up all the same.
func (l *lookout) checks(ctx context.Context, sha string, required []requirement) ([]events.Check, error) {
	statuses, _, err := l.client.Repositories.GetCombinedStatus(ctx, l.owner, l.name, sha, &gh.ListOptions{PerPage: 100})
	var refused *github.Refused
	if err = github.ClassifyError(err, l.db.Now()); err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	runs, err := l.runs(ctx, sha)
	hidden := errors.As(err, &refused)
	if err != nil && !hidden {
		return nil, err
	}
	var all []events.Check
	for _, r := range required {
		c := events.Check{Name: r.Context}
		if statuses != nil {
			for _, s := range statuses.Statuses {
				if s.GetContext() == r.Context {
					c.State, c.Said = worse(c, map[string]events.CheckState{"success": events.CheckPassed, "pending": events.CheckPending}[s.GetState()], s.GetDescription())
				}
			}
		}
		for _, run := range runs {
			if run.GetName() == r.Context && (r.App == nil || *r.App < 0 || *r.App == run.GetApp().GetID()) {
				state, said := stateOf(run)
				c.State, c.Said = worse(c, state, said)
			}
		}
		if c.State == "" && hidden {
			continue
		}
		c.State, c.Said = cmp.Or(c.State, events.CheckPending), cut(c.Said, maxSaid)
		all = append(all, c)
	}
	return all, nil
}

// maxSaid is how much of a check's words is kept, in characters.
const maxSaid = 200

// runs are the check runs at the commit, the last of each name in each suite.
func (l *lookout) runs(ctx context.Context, sha string) (all []*gh.CheckRun, err error) {
	page := gh.ListOptions{PerPage: 100}
	for {
		some, res, err := l.client.Checks.ListCheckRunsForRef(ctx, l.owner, l.name, sha, &gh.ListCheckRunsOptions{ListOptions: page})
		if err != nil {
			return nil, github.ClassifyError(err, l.db.Now())
		}
		all = append(all, some.CheckRuns...)
		if page.Page = res.NextPage; page.Page == 0 {
			return all, nil
		}
	}
}

// stateOf is how a check run stands for a merge.
// https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/collaborating-on-repositories-with-code-quality-features/about-status-checks
func stateOf(run *gh.CheckRun) (state events.CheckState, said string) {
	switch conclusion := run.GetConclusion(); {
	case run.GetStatus() != "completed":
		return events.CheckPending, run.GetStatus()
	case slices.Contains([]string{"success", "neutral", "skipped"}, conclusion):
		return events.CheckPassed, conclusion
	default:
		return events.CheckFailed, strings.TrimRight(conclusion+": "+run.GetOutput().GetTitle(), ": ")
	}
}

// worse is the check's state with one more report of its name: "" fails.
func worse(c events.Check, state events.CheckState, said string) (events.CheckState, string) {
	state = cmp.Or(state, events.CheckFailed)
	rank := []events.CheckState{"", events.CheckPassed, events.CheckPending, events.CheckFailed}
	if slices.Index(rank, state) > slices.Index(rank, c.State) {
		return state, said
	}
	return c.State, c.Said
}

// describeExit is the part of the audit's line about where the commit stands.
func describeExit(f events.GitHubLookedUp) (all []string) {
	if f.Tip != "" && f.Tip != f.Head {
		all = append(all, fmt.Sprintf("the branch is at %s, not at %s", f.Tip, f.Head))
	}
	if f.Apart {
		all = append(all, f.Head+" does not descend from its base")
	}
	for _, c := range f.Checks {
		all = append(all, fmt.Sprintf("check %s: %s", c.Name, c.State))
	}
	return all
}
