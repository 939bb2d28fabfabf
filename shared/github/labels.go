package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
)

// Labels are all labels of the repository.
func (c *Client) Labels(ctx context.Context, owner, name string) (all []*gh.Label, err error) {
	page := &gh.ListOptions{PerPage: 100}
	for {
		labels, resp, err := c.Issues.ListLabels(ctx, owner, name, page)
		if err != nil {
			return nil, fmt.Errorf("listing the labels of %s/%s: %w", owner, name, err)
		}
		all = append(all, labels...)
		if page.Page = resp.NextPage; page.Page == 0 {
			return all, nil
		}
	}
}

// A LabelChange brings one label of a repository to what it should be.
type LabelChange struct {
	There string // its present name; "" = it has to be made
	Want  events.RepositoryLabel
}

// LabelDrift says what is to change for the repository's labels, which are these, to be as wanted. Names have no case.
// A label that is missing while another one looks exactly like it was renamed: it gets its name back, and with it all
// issues that carry it.
func LabelDrift(there []*gh.Label, want []events.RepositoryLabel) (changes []LabelChange) {
	named := func(name string) *gh.Label {
		for _, l := range there {
			if strings.EqualFold(l.GetName(), name) {
				return l
			}
		}
		return nil
	}
	missing := map[events.RepositoryLabel]int{} // by their looks
	for _, w := range want {
		if named(w.Name) == nil {
			missing[looks(w)]++
		}
	}
	renamed := map[events.RepositoryLabel][]string{}
	for _, l := range there {
		w := events.RepositoryLabel{Colour: l.GetColor(), Description: l.GetDescription()}
		if missing[looks(w)] == 1 && w.Description != "" && !wanted(want, l.GetName()) {
			renamed[looks(w)] = append(renamed[looks(w)], l.GetName())
		}
	}
	for _, w := range want {
		l := named(w.Name)
		switch {
		case l == nil && len(renamed[looks(w)]) == 1:
			changes = append(changes, LabelChange{There: renamed[looks(w)][0], Want: w})
		case l == nil:
			changes = append(changes, LabelChange{Want: w})
		case !strings.EqualFold(l.GetColor(), w.Colour) || l.GetDescription() != w.Description:
			changes = append(changes, LabelChange{There: l.GetName(), Want: w})
		}
	}
	return changes
}

// looks is the label without its name.
func looks(l events.RepositoryLabel) events.RepositoryLabel {
	return events.RepositoryLabel{Colour: strings.ToLower(l.Colour), Description: l.Description}
}

func wanted(want []events.RepositoryLabel, name string) bool {
	for _, w := range want {
		if strings.EqualFold(w.Name, name) {
			return true
		}
	}
	return false
}

// ChangeLabel carries out one change.
// https://docs.github.com/en/rest/issues/labels#update-a-label
func (c *Client) ChangeLabel(ctx context.Context, owner, name string, change LabelChange) error {
	w := change.Want
	if change.There == "" {
		_, _, err := c.Issues.CreateLabel(ctx, owner, name, &gh.Label{Name: &w.Name, Color: &w.Colour, Description: &w.Description})
		return err
	}
	body := map[string]string{"color": w.Colour, "description": w.Description}
	if !strings.EqualFold(change.There, w.Name) {
		body["new_name"] = w.Name
	}
	// go-github neither escapes the name nor has new_name.
	req, err := c.NewRequest(http.MethodPatch, fmt.Sprintf("repos/%s/%s/labels/%s", owner, name, url.PathEscape(change.There)), body)
	if err != nil {
		return err
	}
	_, err = c.Do(ctx, req, nil)
	return err
}
