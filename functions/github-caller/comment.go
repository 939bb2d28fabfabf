package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/reason"
)

// maxComment is GitHub's limit for a comment in characters, less some for the mark.
const maxComment = 65536 - 200

// maxLinks is the room of them in the status comment.
const maxLinks = 1500

// mark is the invisible last line of the status comment, by which we recognise it.
func (c *change) mark() string { return "<!-- codexk8s:status " + c.key() + " -->" }

// links lead from the status comment to the console's pages of the issue and of its run; "" where there is no console.
func (c *change) links() string {
	if c.console == "" {
		return ""
	}
	console := strings.TrimRight(c.console, "/")
	links := fmt.Sprintf("[The issue in the console](%s/issues/%s/%s/%d)", console, url.PathEscape(c.owner), url.PathEscape(c.name), c.Issue)
	if c.RunID != "" {
		links += fmt.Sprintf(" · [its run](%s/runs/%s)", console, url.PathEscape(c.RunID))
	}
	return "\n\n" + links
}

// comment brings the one status comment to the event's version.
func (c *change) comment(ctx context.Context) error {
	c.commentID = c.view.CommentID
	if c.Comment == "" || c.failed.limited || c.view.ShowsComment(c.Version) {
		return nil
	}
	id, how, err := c.write(ctx, c.Issue, c.view.CommentID, cut(c.Comment, maxComment-maxLinks)+c.links(), c.mark())
	if err != nil {
		return err
	}
	c.commentID = id
	c.did("comment %d %s at version %d", id, how, c.Version)
	return c.view.SaveComment(ctx, id, c.Version)
}

// note brings the event's note to its version.
func (c *change) note(ctx context.Context) error {
	if c.Note == nil || c.failed.limited {
		return nil
	}
	if c.noteShown = c.view.Shows("note "+c.Note.Key, c.Note.Version); c.noteShown {
		return nil
	}
	id, how, err := c.write(ctx, cmp.Or(c.Note.On, c.Issue), c.view.Note(c.Note.Key), c.Note.Text, "<!-- codexk8s:note "+c.Note.Key+" -->")
	if err != nil {
		return err
	}
	c.noteShown = true
	c.did("note %s is comment %d, %s at version %d", c.Note.Key, id, how, c.Note.Version)
	return c.view.SaveNote(ctx, c.Note.Key, id, c.Note.Version)
}

// noted says whether people see an approval's request, so that another channel stands in for a comment that GitHub
// refuses: a locked issue, a missing permission. err is that of the whole change. Nothing is said while it may still
// work.
func (c *change) noted(ctx context.Context, err error) []events.Draft {
	if c.Note == nil || c.Note.Delivered == nil {
		return nil
	}
	if c.client != nil {
		err = c.unnoted
	}
	var no *github.Refused
	switch {
	case err == nil:
		metrics.ApprovalMessages.Add(ctx, 1, c.Note.Delivered.Channel, "delivered")
		return []events.Draft{events.Now(*c.Note.Delivered)}
	case !errors.As(err, &no):
		return nil
	}
	why, moot := github.Moot(no)
	if !moot {
		why = reason.GitHubRefused
	}
	return []events.Draft{c.hidden(ctx, why, no)}
}

// hidden says that people don't see an approval's request on GitHub.
func (c *change) hidden(ctx context.Context, why string, err error) events.Draft {
	at := c.Note.Delivered
	metrics.ApprovalMessages.Add(ctx, 1, at.Channel, why)
	return events.Now(events.ApprovalUndeliverable{
		RequestID: at.RequestID, Version: at.Version, ApprovalTarget: at.ApprovalTarget, Reason: why, Message: err.Error(),
	})
}

// write gives a comment of ours on an issue or a pull request its text, with the mark as its last line; id 0 = not
// known. A comment that somebody deleted is created again.
func (c *change) write(ctx context.Context, on int, id int64, text, mark string) (written int64, how string, err error) {
	body := &gh.IssueComment{Body: gh.String(cut(text, maxComment) + "\n\n" + mark)}
	if id == 0 {
		if id, err = c.find(ctx, on, mark); err != nil {
			return 0, "", err
		}
	}
	if id != 0 {
		_, _, err := c.client.Issues.EditComment(ctx, c.owner, c.name, id, body)
		if err = github.ClassifyError(err, c.now()); err == nil || !github.Gone(err) {
			return id, "edited", err
		}
	}
	created, _, err := c.client.Issues.CreateComment(ctx, c.owner, c.name, on, body)
	return created.GetID(), "created", err
}

// find looks for a comment with our mark that we created and did not record, because the process died in between or the
// database was restored. Only our own comments count: anybody can copy the mark.
func (c *change) find(ctx context.Context, on int, mark string) (int64, error) {
	login, err := c.clients.Login(ctx)
	if err != nil {
		return 0, err
	}
	list := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: 100}}
	for {
		page, resp, err := c.client.Issues.ListComments(ctx, c.owner, c.name, on, list)
		if err != nil {
			return 0, err
		}
		for _, m := range page {
			if strings.EqualFold(m.GetUser().GetLogin(), login) && strings.HasSuffix(strings.TrimSpace(m.GetBody()), mark) {
				return m.GetID(), nil
			}
		}
		if resp.NextPage == 0 {
			return 0, nil
		}
		list.Page = resp.NextPage
	}
}
