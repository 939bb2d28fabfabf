package main

import (
	"context"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/github"
)

// maxComment is GitHub's limit of a comment in characters, less some for the mark.
const maxComment = 65536 - 200

// mark is the invisible last line of the status comment, by which we know it again.
func (c *change) mark() string { return "<!-- codexk8s:status " + c.key() + " -->" }

// comment brings the one status comment to the event's version. A comment that somebody deleted is created anew.
func (c *change) comment(ctx context.Context) error {
	c.commentID = c.view.CommentID
	if c.Comment == "" || c.view.ShowsComment(c.Version) {
		return nil
	}
	body := &gh.IssueComment{Body: gh.String(cut(c.Comment, maxComment) + "\n\n" + c.mark())}
	id := c.view.CommentID
	if id == 0 {
		var err error
		if id, err = c.find(ctx); err != nil {
			return err
		}
	}
	if id != 0 {
		_, _, err := c.client.Issues.EditComment(ctx, c.owner, c.name, id, body)
		if err = github.ClassifyError(err, c.now()); err != nil && !github.Gone(err) {
			return err
		}
		if err == nil {
			return c.saved(ctx, id, "edited")
		}
	}
	created, _, err := c.client.Issues.CreateComment(ctx, c.owner, c.name, c.Issue, body)
	if err != nil {
		return err
	}
	return c.saved(ctx, created.GetID(), "created")
}

func (c *change) saved(ctx context.Context, id int64, how string) error {
	c.commentID = id
	c.did("comment %d %s at version %d", id, how, c.Version)
	return c.view.SaveComment(ctx, id, c.Version)
}

// find looks for a status comment that we created and did not note: the process died in between, or the database was
// restored. Only our own count: anybody can copy the mark.
func (c *change) find(ctx context.Context) (int64, error) {
	login, err := c.login(ctx)
	if err != nil {
		return 0, err
	}
	list := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: 100}}
	for {
		page, resp, err := c.client.Issues.ListComments(ctx, c.owner, c.name, c.Issue, list)
		if err != nil {
			return 0, err
		}
		for _, m := range page {
			if strings.EqualFold(m.GetUser().GetLogin(), login) && strings.HasSuffix(strings.TrimSpace(m.GetBody()), c.mark()) {
				return m.GetID(), nil
			}
		}
		if resp.NextPage == 0 {
			return 0, nil
		}
		list.Page = resp.NextPage
	}
}
