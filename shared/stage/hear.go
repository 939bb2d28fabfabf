package stage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// A Subject is what an event is about, as the event names it. The store finds the work item for it.
type Subject struct {
	Repository   string // "owner/name", as it was called then
	RepositoryID int64  // GitHub's number; 0 = not said
	CloneURL     string
	At           time.Time // of these names, by GitHub's clock where it gives a time
	Issue        int       // 0 = the one whose pull request is Pull, if there is one
	Pull         int
	Run          string // id of the run it is about; its work item stays where it is even if the repository was renamed
}

// hears are the translations by event type.
var hears = map[string]func(event.Event) (Subject, Input, error){
	events.GitHubType("issues"):              hearIssue,
	events.GitHubType("pull_request"):        hearPullRequest,
	events.GitHubType("pull_request_review"): hearReview,
	events.GitHubType("issue_comment"):       hearComment,
	events.GitHubType("check_run"):           hearCheck,
	events.GitHubType("check_suite"):         hearCheck,
	events.GitHubType("status"):              hearCheck,
	events.LabelObserved{}.EventType():       hearObserved,
	events.AgentStarted{}.EventType():        ofRun(func(p events.AgentStarted) (events.RunRef, Input) { return p.RunRef, JobStarted{p} }),
	events.AgentDelayed{}.EventType():        ofRun(func(p events.AgentDelayed) (events.RunRef, Input) { return p.RunRef, JobDelayed{p} }),
	events.AgentFailed{}.EventType():         ofRun(func(p events.AgentFailed) (events.RunRef, Input) { return p.RunRef, JobFailed{p} }),
	events.AgentFinished{}.EventType():       ofRun(func(p events.AgentFinished) (events.RunRef, Input) { return p.RunRef, JobEnded{p} }),
	events.AgentReported{}.EventType():       ofRun(func(p events.AgentReported) (events.RunRef, Input) { return p.RunRef, Reported{p} }),
	events.GitHubLookedUp{}.EventType():      ofRun(func(p events.GitHubLookedUp) (events.RunRef, Input) { return p.RunRef, LookedUp{p} }),
	events.GitHubReviewed{}.EventType():      ofRun(func(p events.GitHubReviewed) (events.RunRef, Input) { return p.RunRef, ReviewLeft{p} }),
	events.RunQueued{}.EventType():           ofRun(func(p events.RunQueued) (events.RunRef, Input) { return p.RunRef, InQueue{p} }),
	events.RunDeadline{}.EventType():         ofRun(func(p events.RunDeadline) (events.RunRef, Input) { return p.RunRef, DeadlineDue{p} }),
	events.RunCheck{}.EventType():            ofRun(func(p events.RunCheck) (events.RunRef, Input) { return p.RunRef, CheckDue{p} }),
	events.ApprovalRequested{}.EventType():   ofRun(func(p events.ApprovalRequested) (events.RunRef, Input) { return p.RunRef, Asked{p} }),
	events.ApprovalDecided{}.EventType():     ofRun(func(p events.ApprovalDecided) (events.RunRef, Input) { return p.RunRef, Decided{p} }),
	events.ToolExecuted{}.EventType():        ofRun(func(p events.ToolExecuted) (events.RunRef, Input) { return p.RunRef, Executed{p} }),
	events.LLMLimited{}.EventType():          ofRun(func(p events.LLMLimited) (events.RunRef, Input) { return p.RunRef, Limited{p} }),
	events.BudgetWarned{}.EventType():        ofRun(func(p events.BudgetWarned) (events.RunRef, Input) { return p.RunRef, Warned{p} }),
	events.LabelApproved{}.EventType():       ofRun(func(p events.LabelApproved) (events.RunRef, Input) { return p.RunRef, Wanted{p} }),
	events.HoldRequested{}.EventType():       ofRun(func(p events.HoldRequested) (events.RunRef, Input) { return p.RunRef, Replaced{p} }),
	events.StormDue{}.EventType():            hearStorm,
	events.CommandRequested{}.EventType():    hearCommand,
}

// Hears are the types of events about work items, sorted.
func Hears() []string { return slices.Sorted(maps.Keys(hears)) }

// Hear says what an event is about and which input of a decision it is: nil if it means nothing to any run. It rejects
// data that it can't read and types that are not in Hears.
func Hear(e event.Event) (Subject, Input, error) {
	hear, ok := hears[e.Type()]
	if !ok {
		return Subject{}, nil, events.Reject("unexpected_type", fmt.Errorf("event %s has type %s, which is about no work item", e.ID(), e.Type()))
	}
	return hear(e)
}

// Stray is what remains of an input about a pull request that belongs to no work item: a trigger that somebody set on
// it, to be answered there; else nil.
func Stray(p *Process, in Input) Input {
	l, ok := in.(Labeled)
	if !ok || l.Pull == nil {
		return nil
	}
	if _, _, starts := p.Trigger(l.Label); !starts {
		return nil
	}
	l.Pull, l.Stray = nil, true
	return l
}

func hearIssue(e event.Event) (Subject, Input, error) {
	i, err := webhook.IssueFrom(e.Data())
	if err != nil {
		return Subject{}, nil, events.Malformed(err)
	}
	about := subject(i.Repository, i.UpdatedAt, e)
	about.Issue = int(i.Number)
	issue := Issue{
		Title: i.Title, Body: i.Body, URL: i.URL, BaseBranch: i.Repository.DefaultBranch, CloneURL: i.Repository.CloneURL,
		Labels: i.Labels, Closed: i.State == "closed", UpdatedAt: i.UpdatedAt,
	}
	if i.Action != "labeled" {
		return about, Edited{Issue: issue, Action: i.Action, Label: i.Label, Sender: person(i.Sender)}, nil
	}
	return about, Labeled{Issue: issue, Label: i.Label, At: i.UpdatedAt, Sender: person(i.Sender), Delivery: e.ID()}, nil
}

// hearObserved hears of a label whose webhook never came.
func hearObserved(e event.Event) (Subject, Input, error) {
	l, err := events.Decode[events.LabelObserved](e)
	if err != nil {
		return Subject{}, nil, err
	}
	about := subject(webhook.Repository{Name: l.Repository, ID: l.RepositoryID, CloneURL: l.CloneURL}, l.UpdatedAt, e)
	about.Issue = l.Issue
	return about, Labeled{
		Issue: Issue{
			Title: l.Title, Body: l.Body, URL: l.URL, BaseBranch: l.DefaultBase, CloneURL: l.CloneURL, Labels: l.Labels, UpdatedAt: l.UpdatedAt,
		},
		Label: l.Label, At: l.LabeledAt, Delivery: e.ID(), Rewriter: l.Rewriter,
		Sender: person(webhook.Actor{Login: l.Sender, ID: l.SenderID, Type: l.SenderType}),
	}, nil
}

func hearStorm(e event.Event) (Subject, Input, error) {
	s, err := events.Decode[events.StormDue](e)
	if err != nil {
		return Subject{}, nil, err
	}
	return Subject{Repository: s.Repository, RepositoryID: s.RepositoryID, Issue: s.Issue}, StormDue{s}, nil
}

func hearCommand(e event.Event) (Subject, Input, error) {
	c, err := events.Decode[events.CommandRequested](e)
	if err != nil {
		return Subject{}, nil, err
	}
	if commands[c.Command] == nil || c.Command == events.CommandCancel && c.RunID == "" {
		return Subject{}, nil, events.Malformed(fmt.Errorf("the command %q of run %q is none", c.Command, c.RunID))
	}
	return Subject{Repository: c.Repository, RepositoryID: c.RepositoryID, Issue: c.Issue, Run: c.RunID}, Commanded{c, e.ID()}, nil
}

func hearPullRequest(e event.Event) (Subject, Input, error) {
	p, err := webhook.PullRequestFrom(e.Data())
	if err != nil {
		return Subject{}, nil, events.Malformed(err)
	}
	about := subjectOfPull(p.Repository, p.PullRequest, e)
	pull := pullRequest(p.PullRequest, about)
	if p.Action != "labeled" {
		return about, PullRequestChanged{Pull: pull, Action: p.Action, Label: p.Label, Sender: person(p.Sender)}, nil
	}
	return about, Labeled{Pull: &pull, Label: p.Label, At: pull.UpdatedAt, Sender: person(p.Sender), Delivery: e.ID()}, nil
}

// hearReview translates reviews that were submitted, edited or dismissed.
func hearReview(e event.Event) (Subject, Input, error) {
	r, err := webhook.ReviewFrom(e.Data())
	if err != nil {
		return Subject{}, nil, events.Malformed(err)
	}
	about := subjectOfPull(r.Repository, r.PullRequest, e)
	pull := pullRequest(r.PullRequest, about)
	pull.Draft = nil // GitHub sends a shorter form here
	in := Reviewed{
		Review: Review{ID: r.Review.ID, Author: r.Review.Author.Login, Body: r.Review.Body, Before: r.Review.SubmittedAt}, State: r.Review.State,
		CommitSHA: r.Review.CommitSHA, At: r.Review.SubmittedAt, Insider: r.Review.Insider, Pull: pull, Sender: person(r.Review.Author),
	}
	switch r.Action {
	case "submitted":
		return about, in, nil
	case "edited":
		return about, ReviewEdited{Review: r.Review.ID, Body: r.Review.Body, Pull: pull, Sender: person(r.Sender)}, nil
	case "dismissed":
		in.State, in.Sender = r.Action, person(r.Sender)
		return about, in, nil
	}
	return about, nil, nil
}

// hearComment translates comments of people on issues. Of an issue without labels nothing is discussed.
func hearComment(e event.Event) (Subject, Input, error) {
	c, err := webhook.CommentFrom(e.Data())
	if err != nil {
		return Subject{}, nil, events.Malformed(err)
	}
	about := subject(c.Repository, c.UpdatedAt, e)
	about.Issue = int(c.Number)
	if c.OnPullRequest || c.ViaApp || c.Author.Bot() || len(c.Labels) == 0 {
		return about, nil, nil
	}
	return about, Commented{
		Remark: Remark{Comment: c.CommentID, By: c.Author.Login, ByID: c.Author.ID, Body: c.Body, At: c.UpdatedAt},
		Action: c.Action, Labels: c.Labels, Sender: person(c.Sender),
	}, nil
}

// hearCheck translates the end of a check at a commit of an agent's branch. Our own statuses are none.
func hearCheck(e event.Event) (Subject, Input, error) {
	c, err := webhook.CheckFrom(e.Data())
	if err != nil {
		return Subject{}, nil, events.Malformed(err)
	}
	about := subject(c.Repository, time.Time{}, e)
	for _, branch := range c.Branches {
		about.Issue = cmp.Or(about.Issue, issueOfBranch(branch))
	}
	if about.Issue == 0 || !c.Reported || strings.HasPrefix(c.Name, events.StatusPrefix) {
		return about, nil, nil
	}
	return about, Checked{SHA: c.SHA, Name: c.Name}, nil
}

// ofRun is the translation of an event about a run.
func ofRun[P events.Payload](read func(P) (events.RunRef, Input)) func(event.Event) (Subject, Input, error) {
	return func(e event.Event) (Subject, Input, error) {
		p, err := events.Decode[P](e)
		if err != nil {
			return Subject{}, nil, err
		}
		ref, in := read(p)
		return Subject{Repository: ref.Repository, Issue: ref.Issue, Run: ref.RunID}, in, nil
	}
}

// subject is the payload's repository, at the time that GitHub gives in the payload, else at the event's time.
func subject(r webhook.Repository, at time.Time, e event.Event) Subject {
	if at.IsZero() {
		at = e.Time()
	}
	return Subject{Repository: r.Name, RepositoryID: r.ID, CloneURL: r.CloneURL, At: at}
}

// subjectOfPull recognises a pull request of ours by its branch, and only when the branch is in the repository itself,
// where no stranger can push. If it was renamed, the store knows the pull request by its number.
func subjectOfPull(r webhook.Repository, p webhook.PullRequest, e event.Event) Subject {
	about := subject(r, p.UpdatedAt, e)
	about.Pull = int(p.Number)
	if !p.FromFork(r.Name) {
		about.Issue = issueOfBranch(p.HeadRef)
	}
	return about
}

func pullRequest(p webhook.PullRequest, about Subject) PullRequest {
	pull := PullRequest{
		Number: int(p.Number), URL: p.URL, HeadSHA: p.HeadSHA, Base: p.BaseRef, State: p.State,
		Merged: p.Merged, Draft: &p.Draft, Labels: p.Labels, UpdatedAt: p.UpdatedAt,
	}
	if about.Issue != 0 {
		pull.Branch = p.HeadRef
	}
	return pull
}

func person(a webhook.Actor) Person { return Person{Login: a.Login, ID: a.ID, Bot: a.Bot()} }
