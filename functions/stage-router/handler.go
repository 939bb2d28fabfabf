package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

type handler struct {
	db      *store.DB
	process *stage.Process
}

func (h *handler) routes(s *serve.Server) {
	s.OnType(events.GitHubType("issues"), h.issue)
	s.OnType(events.GitHubType("pull_request"), h.pullRequest)
	s.OnType(events.GitHubType("pull_request_review"), h.review)
	serve.On(s, h.labelObserved)
	serve.On(s, h.runRequested)
	serve.On(s, h.runFinished)
	serve.On(s, h.runDeadline)
	serve.On(s, h.runCheck)
	serve.On(s, h.agentStarted)
	serve.On(s, h.agentFinished)
	serve.On(s, h.agentFailed)
	serve.On(s, h.agentReported)
	serve.On(s, h.gitHubLookedUp)
}

// issue hears everything about an issue: labels, edits, closing.
func (h *handler) issue(ctx context.Context, e event.Event) ([]event.Event, error) {
	i, err := github.IssueFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(err)
	}
	about := stage.Issue{
		Title: i.Title, Body: i.Body, URL: i.URL, BaseBranch: i.Repository.DefaultBranch, CloneURL: i.Repository.CloneURL,
		Labels: i.Labels, Closed: i.State == "closed", UpdatedAt: i.UpdatedAt,
	}
	who := person(i.Sender)
	d := deed{repository: i.Repository.Name, issue: int(i.Number), sender: who.Login}
	if i.Action != "labeled" {
		return h.decide(ctx, e, d, stage.Edited{Issue: about, Action: i.Action, Sender: who})
	}
	d.intent = stage.LabelIntent(d.repository, d.issue, i.Label, i.UpdatedAt, e.ID())
	return h.decide(ctx, e, d, stage.Labeled{Issue: about, Label: i.Label, At: i.UpdatedAt, Sender: who, Intent: d.intent})
}

// labelObserved hears of a label whose webhook never came.
func (h *handler) labelObserved(ctx context.Context, e event.Event, l events.LabelObserved) ([]event.Event, error) {
	d := deed{repository: l.Repository, issue: l.Issue, sender: l.Sender}
	d.intent = stage.LabelIntent(l.Repository, l.Issue, l.Label, l.LabeledAt, e.ID())
	who := person(github.Actor{Login: l.Sender, Type: l.SenderType})
	about := stage.Issue{
		Title: l.Title, Body: l.Body, URL: l.URL, BaseBranch: l.DefaultBase, CloneURL: l.CloneURL, Labels: l.Labels, UpdatedAt: l.UpdatedAt,
	}
	return h.decide(ctx, e, d, stage.Labeled{Issue: about, Label: l.Label, At: l.LabeledAt, Sender: who, Intent: d.intent})
}

// pullRequest hears everything about pull requests, of which those of agents matter,
// and triggers that people set on others.
func (h *handler) pullRequest(ctx context.Context, e event.Event) ([]event.Event, error) {
	p, err := github.PullRequestFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(err)
	}
	issue, err := h.issueOf(ctx, p.PullRequest, p.Repository.Name)
	if err != nil {
		return nil, err
	}
	who := person(p.Sender)
	d := deed{repository: p.Repository.Name, issue: issue, sender: who.Login}
	pull := pullRequest(p.PullRequest)
	if p.Action != "labeled" {
		if issue == 0 {
			return h.note(ctx, e)
		}
		return h.decide(ctx, e, d, stage.PullRequestChanged{Pull: pull, Action: p.Action, Sender: who})
	}
	in := stage.Labeled{Pull: &pull, Label: p.Label, At: p.PullRequest.UpdatedAt, Sender: who}
	if issue == 0 {
		if !h.process.IsTrigger(p.Label) {
			return h.note(ctx, e)
		}
		d.issue, in.Pull, in.Stray = pull.Number, nil, true
	}
	in.Intent = stage.LabelIntent(d.repository, pull.Number, p.Label, p.PullRequest.UpdatedAt, e.ID())
	d.intent = in.Intent
	return h.decide(ctx, e, d, in)
}

func (h *handler) review(ctx context.Context, e event.Event) ([]event.Event, error) {
	r, err := github.ReviewFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(err)
	}
	issue, err := h.issueOf(ctx, r.PullRequest, r.Repository.Name)
	if err != nil {
		return nil, err
	}
	if issue == 0 || r.Action != "submitted" && r.Action != "dismissed" {
		return h.note(ctx, e)
	}
	author, who := person(r.Review.Author), person(r.Review.Author)
	if r.Action == "dismissed" {
		who, r.Review.State = person(r.Sender), r.Action
	}
	pull := pullRequest(r.PullRequest)
	pull.Draft = nil // GitHub sends a shorter form here
	d := deed{repository: r.Repository.Name, issue: issue, sender: who.Login}
	d.intent = stage.ReviewIntent(d.repository, issue, r.Review.ID)
	return h.decide(ctx, e, d, stage.Reviewed{
		Review: stage.Review{ID: r.Review.ID, Author: author.Login, Body: r.Review.Body}, State: r.Review.State,
		CommitSHA: r.Review.CommitSHA, At: r.Review.SubmittedAt, Pull: pull, Sender: who, Intent: d.intent,
	})
}

func (h *handler) runRequested(ctx context.Context, e event.Event, r events.RunRequested) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project)
}

func (h *handler) runFinished(ctx context.Context, e event.Event, r events.RunFinished) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project)
}

func (h *handler) runDeadline(ctx context.Context, e event.Event, r events.RunDeadline) ([]event.Event, error) {
	return h.decide(ctx, e, aboutRun(r.RunRef), r)
}

func (h *handler) runCheck(ctx context.Context, e event.Event, r events.RunCheck) ([]event.Event, error) {
	return h.decide(ctx, e, aboutRun(r.RunRef), r)
}

func (h *handler) agentStarted(ctx context.Context, e event.Event, a events.AgentStarted) ([]event.Event, error) {
	return h.decide(ctx, e, aboutRun(a.RunRef), a)
}

func (h *handler) agentFailed(ctx context.Context, e event.Event, a events.AgentFailed) ([]event.Event, error) {
	return h.decide(ctx, e, aboutRun(a.RunRef), a)
}

func (h *handler) agentReported(ctx context.Context, e event.Event, a events.AgentReported) ([]event.Event, error) {
	return h.decide(ctx, e, aboutRun(a.RunRef), a)
}

func (h *handler) gitHubLookedUp(ctx context.Context, e event.Event, l events.GitHubLookedUp) ([]event.Event, error) {
	return h.decide(ctx, e, aboutRun(l.RunRef), l)
}

func (h *handler) agentFinished(ctx context.Context, e event.Event, a events.AgentFinished) ([]event.Event, error) {
	return h.decide(ctx, e, aboutRun(a.RunRef), stage.JobEnded{RunID: a.RunID, Attempt: a.Attempt})
}

// deed is which work item an event is about, and what of it a decision needs.
type deed struct {
	repository     string
	issue          int
	sender, intent string
	run            string // id; "" = the newest
}

func aboutRun(r events.RunRef) deed {
	return deed{repository: r.Repository, issue: r.Issue, run: r.RunID}
}

// decide handles one event about a work item: load, decide, save.
func (h *handler) decide(ctx context.Context, e event.Event, d deed, in any) ([]event.Event, error) {
	var before, after *stage.Run
	emitted, err := h.db.Step(ctx, e, events.WorkItem(d.repository, d.issue), func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		item, err := tx.Item(ctx, d.repository, d.issue, d.run, d.sender, d.intent)
		if err != nil {
			return events.Decision{}, err
		}
		if d.run != "" && item.Run == nil {
			return events.Decision{}, events.Reject("unknown_run", fmt.Errorf("run %s does not exist", d.run))
		}
		if ended, ok := in.(stage.JobEnded); ok {
			if ended.Report, err = report(ctx, tx, ended.RunID); err != nil {
				return events.Decision{}, err
			}
			in = ended
		}
		next, decision, err := stage.Decide(h.process, item, in, tx.Now())
		if err != nil {
			return events.Decision{}, err
		}
		before, after = item.Run, next.Run
		if next.Project == nil && next.Run == nil {
			return decision, nil // nobody's: what strangers write is not kept
		}
		return decision, tx.SaveItem(ctx, next, stateBefore(item, next))
	})
	if err == nil {
		measure(ctx, before, after)
	}
	return emitted, err
}

// note records the receipt of an event that means nothing to any run: without it
// the event would count as lost, and be sent again.
func (h *handler) note(ctx context.Context, e event.Event) ([]event.Event, error) {
	return h.db.Step(ctx, e, e.Source()+" "+e.ID(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{}, nil
	})
}

// stateBefore is the state in which the run to be saved was loaded; "" for a new run.
func stateBefore(was, next stage.Item) stage.State {
	if was.Run == nil || next.Run == nil || was.Run.ID != next.Run.ID {
		return ""
	}
	return was.Run.State
}

func report(ctx context.Context, tx *store.Tx, runID string) (*events.AgentReported, error) {
	data, err := tx.ReportOf(ctx, runID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &events.AgentReported{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("reading the stored report of run %s: %w", runID, err)
	}
	return r, nil
}

// admit gives the project's free places to those of its runs that wait.
func (h *handler) admit(ctx context.Context, e event.Event, project string) ([]event.Event, error) {
	var admitted []admission
	emitted, err := h.db.Step(ctx, e, "project/"+project, func(ctx context.Context, tx *store.Tx) (d events.Decision, err error) {
		settings, places, err := tx.Places(ctx, project)
		if errors.Is(err, store.ErrNotFound) {
			return d, events.Reject("unknown_project", err)
		}
		if err != nil {
			return d, err
		}
		started := map[string]bool{}
		for _, p := range stage.Admit(h.process, settings, places) {
			deadline, start := stage.Start(h.process, settings, p, tx.Now())
			if err := tx.Admit(ctx, p.ID, deadline); err != nil {
				return d, err
			}
			started[p.ID] = true
			admitted = append(admitted, admission{p.Stage, tx.Now().Sub(p.CreatedAt)})
			d.Emit = append(d.Emit, start.Emit...)
			d.Audit = append(d.Audit, start.Audit...)
		}
		for _, p := range places {
			if p.State == stage.Requested && !started[p.ID] {
				if err := tx.Admit(ctx, p.ID, time.Time{}); err != nil {
					return d, err
				}
				d.Audit = append(d.Audit, events.Record{Actor: "platform", Action: "run.queued", Run: p.ID, Reason: "no_free_place"})
			}
		}
		return d, nil
	})
	if err == nil {
		measureAdmitted(ctx, admitted)
	}
	return emitted, err
}

// An admission is how long a run of the stage has waited for its place.
type admission struct {
	stage  string
	waited time.Duration
}

// agentBranch is the branch of an issue's agent.
var agentBranch = regexp.MustCompile(`^codexk8s/issue-([1-9][0-9]{0,8})$`)

// issueOf tells which issue a pull request of ours belongs to, 0 for none: by its
// branch, and only when the branch lives in the repository itself, where no stranger
// can push; or by its number, should the branch have been renamed.
func (h *handler) issueOf(ctx context.Context, p github.PullRequest, repository string) (issue int, err error) {
	if m := agentBranch.FindStringSubmatch(p.HeadRef); m != nil && !p.FromFork(repository) {
		return strconv.Atoi(m[1])
	}
	issue, err = h.db.IssueOfPull(ctx, repository, int(p.Number))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return issue, err
}

func pullRequest(p github.PullRequest) stage.PullRequest {
	return stage.PullRequest{
		Number: int(p.Number), URL: p.URL, HeadSHA: p.HeadSHA, Base: p.BaseRef, State: p.State,
		Merged: p.Merged, Draft: &p.Draft, Labels: p.Labels, UpdatedAt: p.UpdatedAt,
	}
}

func person(a github.Actor) stage.Person { return stage.Person{Login: a.Login, Bot: a.Bot()} }
