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

	"github.com/cloudevents/sdk-go/v2/event"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/store"
)

// A change is one event being carried out.
type change struct {
	*handler
	events.GitHubChangeRequested
	cause       event.Event
	home        store.Repository
	owner, name string

	client    *github.Client
	view      *store.GitHubView
	failed    failures
	unnoted   error // why the note is not there
	noteShown bool
	steps     []string // what was changed, for the audit
	commentID int64    // for GitHubChanged
}

// newChange is the change in the repository under its present name.
func (h *handler) newChange(cause event.Event, p events.GitHubChangeRequested, home store.Repository) *change {
	p.Repository = home.Name
	c := &change{handler: h, GitHubChangeRequested: p, cause: cause, home: home}
	c.owner, c.name, _ = strings.Cut(home.Name, "/")
	return c
}

// carryOut locks the work item and brings every part to its state, in the order in which people look at them. All parts
// are tried: a commit that was force-pushed away must not keep the comment from saying so.
func (c *change) carryOut(ctx context.Context) (events.Decision, error) {
	acting, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	if err := c.open(acting); err != nil {
		return c.say(ctx, err)
	}
	defer func() { _ = c.view.Close(ctx) }() // after a panic; else it is closed
	c.keep("labels of the issue", c.labels(acting, c.Issue, c.On, c.Off))
	c.keep("labels of the pull request", c.labels(acting, c.PullRequest, c.PullOn, c.PullOff))
	c.keep("base of the pull request", c.turn(acting))
	c.keep("commit status", c.status(acting))
	c.keep("status comment", c.comment(acting))
	c.unnoted = github.ClassifyError(c.note(acting), c.now())
	c.keep("note", c.unnoted)
	return c.say(ctx, errors.Join(c.failed.err(), c.view.Close(ctx)))
}

// open looks up what the run is based on, and locks the work item. The view holds a connection to Postgres while GitHub
// is called. So what is done until it is closed asks for no second one: if as many changes as there are connections
// did, they would wait for each other.
func (c *change) open(ctx context.Context) (err error) {
	if c.client, err = c.handler.client(ctx, c.Repository); err != nil {
		return err
	}
	c.keep("base branch", c.base(ctx))
	c.view, err = c.db.GitHubView(ctx, c.home.Key, c.Issue)
	return err
}

// base looks up the commit that a new run is based on, before its agent begins; a run whose branch is there goes on
// from that. If there is no such base branch the agent will report it.
func (c *change) base(ctx context.Context) error {
	if c.Base == "" || c.RunID == "" {
		return nil
	}
	var refused *github.Refused
	if c.Branch != "" {
		_, _, err := c.client.Git.GetRef(ctx, c.owner, c.name, "heads/"+c.Branch)
		if err = github.ClassifyError(err, c.now()); err == nil || !errors.As(err, &refused) {
			return err
		}
	}
	ref, _, err := c.client.Git.GetRef(ctx, c.owner, c.name, "heads/"+c.Base)
	if err = github.ClassifyError(err, c.now()); errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	kept, err := c.db.KeepBase(ctx, c.RunID, ref.GetObject().GetSHA(), false)
	if kept {
		c.did("run based on %s of %s", ref.GetObject().GetSHA(), c.Base)
	}
	return err
}

// say is what is recorded of the change. An error rejects the event, or is worth another try.
func (c *change) say(ctx context.Context, err error) (events.Decision, error) {
	why, void := moot(err)
	if err != nil && !void {
		err = c.explain(ctx, err)
		return events.Decision{}, errors.Join(err, c.unreachable(ctx, err))
	}
	done := events.GitHubChanged{Repository: c.Repository, Issue: c.Issue, RunID: c.RunID, CommentID: c.commentID}
	d := events.Decision{
		Emit:  append([]events.Draft{events.Now(done)}, c.noted(ctx, err)...),
		Audit: []events.Record{{Actor: actor, Action: "github.changed", Run: c.RunID, Detail: strings.Join(c.steps, "; ")}},
	}
	if void {
		d.Audit = append(d.Audit, c.refused(why, err))
	}
	return d, nil
}

// key is the work item's, which outlives a rename.
func (c *change) key() string { return events.WorkItem(c.home.Key, c.Issue) }

// failures are the parts that did not work.
type failures struct {
	errs      []error
	limited   bool
	temporary bool
}

func (f *failures) Error() string   { return errors.Join(f.errs...).Error() }
func (f *failures) Unwrap() []error { return f.errs }

func (f *failures) err() error {
	if len(f.errs) == 0 {
		return nil
	}
	return f
}

// keep keeps the failure of one part, if it failed.
func (c *change) keep(part string, err error) {
	err = github.ClassifyError(err, c.now())
	if err == nil {
		return
	}
	var limited *github.RateLimited
	var refused *github.Refused
	c.failed.limited = c.failed.limited || errors.As(err, &limited)
	c.failed.temporary = c.failed.temporary || !errors.As(err, &refused)
	c.failed.errs = append(c.failed.errs, fmt.Errorf("%s of %s: %w", part, c.EventSubject(), err))
}

// shows reports whether nothing is to be done about a part: GitHub shows the version or a newer one, or has just said
// that it wants no more calls.
func (c *change) shows(part string) bool { return c.failed.limited || c.view.Shows(part, c.Version) }

func (c *change) now() time.Time { return c.db.Now() }

func (c *change) did(format string, args ...any) {
	c.steps = append(c.steps, fmt.Sprintf(format, args...))
}

// labels shows those that tell of the work item's state.
func (c *change) labels(ctx context.Context, number int, on, off []string) error {
	part := fmt.Sprintf("labels #%d", number)
	if number == 0 || len(on)+len(off) == 0 || c.shows(part) {
		return nil
	}
	if err := c.relabel(ctx, number, on, off); err != nil {
		return err
	}
	return c.view.Save(ctx, part, c.Version)
}

// relabel compares the labels that are there with those wanted and changes the difference. Taking off comes first, so
// that nothing ever shows two states. Names of labels have no case.
func (c *change) relabel(ctx context.Context, number int, on, off []string) error {
	there, err := c.labelsOf(ctx, number)
	if err != nil {
		return err
	}
	for _, label := range there {
		if !contains(off, label) {
			continue
		}
		// go-github does not escape it.
		_, err := c.client.Issues.RemoveLabelForIssue(ctx, c.owner, c.name, number, url.PathEscape(label))
		if err = github.ClassifyError(err, c.now()); err != nil && !absent(err) {
			return err
		}
		c.did("#%d -%s", number, label)
	}
	missing := slices.DeleteFunc(slices.Clone(on), func(label string) bool { return contains(there, label) })
	if len(missing) > 0 {
		if _, _, err := c.client.Issues.AddLabelsToIssue(ctx, c.owner, c.name, number, missing); err != nil {
			return err
		}
		c.did("#%d +%s", number, strings.Join(missing, " +"))
	}
	return nil
}

func (c *change) labelsOf(ctx context.Context, number int) (names []string, err error) {
	page := &gh.ListOptions{PerPage: 100}
	for {
		labels, resp, err := c.client.Issues.ListLabelsByIssue(ctx, c.owner, c.name, number, page)
		if err != nil {
			return nil, err
		}
		for _, l := range labels {
			names = append(names, l.GetName())
		}
		if page.Page = resp.NextPage; page.Page == 0 {
			return names, nil
		}
	}
}

// turn has the pull request go into another branch, if it is open and does not go there already, as when GitHub has
// turned it itself: it does so when the branch that it went into was deleted after its merge. A pull request that has
// nothing to bring there stays where it is.
// https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/proposing-changes-to-your-work-with-pull-requests/changing-the-base-branch-of-a-pull-request
func (c *change) turn(ctx context.Context) error {
	part := fmt.Sprintf("base #%d", c.PullRequest)
	if c.PullRequest == 0 || c.PullBase == "" || c.shows(part) {
		return nil
	}
	pull, _, err := c.client.PullRequests.Get(ctx, c.owner, c.name, c.PullRequest)
	if err != nil {
		return err
	}
	if pull.GetState() == "open" && pull.GetBase().GetRef() != c.PullBase {
		_, _, err := c.client.PullRequests.Edit(ctx, c.owner, c.name, c.PullRequest, &gh.PullRequest{Base: &gh.PullRequestBranch{Ref: &c.PullBase}})
		var refused *github.Refused
		switch err = github.ClassifyError(err, c.now()); {
		case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
			c.did("#%d not into %s: %s", c.PullRequest, c.PullBase, refused.Message)
		case err != nil:
			return err
		default:
			c.did("#%d into %s", c.PullRequest, c.PullBase)
		}
	}
	return c.view.Save(ctx, part, c.Version)
}

func contains(labels []string, label string) bool {
	return slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(l, label) })
}

// absent tells "the issue has no such label any more", which is what we want, from "there is no such issue": both are
// 404, and only the message differs.
// https://docs.github.com/en/rest/issues/labels#remove-a-label-from-an-issue
func absent(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused) && github.Gone(err) && strings.Contains(refused.Message, "Label does not exist")
}

// maxDescription is GitHub's limit in characters.
// https://docs.github.com/en/rest/commits/statuses#create-a-commit-status
const maxDescription = 140

// status sets the commit status; on GitHub the latest with a name counts.
func (c *change) status(ctx context.Context) error {
	s := c.Status
	if s == nil || s.SHA == "" {
		return nil
	}
	part := fmt.Sprintf("status %s %s", s.SHA, s.Context)
	if c.shows(part) {
		return nil
	}
	status := &gh.RepoStatus{State: &s.State, Context: &s.Context, Description: gh.String(cut(s.Description, maxDescription))}
	if c.console != "" && c.RunID != "" {
		status.TargetURL = gh.String(strings.TrimRight(c.console, "/") + "/runs/" + c.RunID)
	}
	if _, _, err := c.client.Repositories.CreateStatus(ctx, c.owner, c.name, s.SHA, status); err != nil {
		return c.unlessFresh(err)
	}
	c.did("status %s %s", s.Context, s.State)
	return c.view.Save(ctx, part, c.Version)
}

// settling is how long a part of GitHub may not know a commit that was just pushed.
const settling = time.Minute

// errFresh says that GitHub does not know the commit, which may be too new for it.
var errFresh = errors.New("GitHub does not know the commit yet")

// unlessFresh is err, unless it says that there is no such commit and was asked for a moment ago: GitHub says so for
// seconds after a push, and later only of one that is gone.
func (c *change) unlessFresh(err error) error {
	why, _ := github.Moot(github.ClassifyError(err, c.now()))
	if why == reason.GitHubGone && strings.Contains(err.Error(), "No commit found") && c.age() < settling {
		return fmt.Errorf("%w: %s", errFresh, c.Status.SHA)
	}
	return err
}

func (c *change) age() time.Duration { return c.now().Sub(c.cause.Time()) }

// cut shortens text to n characters.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}
