package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
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
	i, err := webhook.IssueFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(err)
	}
	about := stage.Issue{
		Title: i.Title, Body: i.Body, URL: i.URL, BaseBranch: i.Repository.DefaultBranch, CloneURL: i.Repository.CloneURL,
		Labels: i.Labels, Closed: i.State == "closed", UpdatedAt: i.UpdatedAt,
	}
	who := person(i.Sender)
	d, err := h.deed(ctx, seen(i.Repository, i.UpdatedAt, e), int(i.Number), who)
	if err != nil {
		return nil, err
	}
	if i.Action != "labeled" {
		return h.decide(ctx, e, d, stage.Edited{Issue: about, Action: i.Action, Sender: who})
	}
	d.Intent = stage.LabelIntent(d.Repository.Key, d.Issue, i.Label, i.UpdatedAt, e.ID())
	return h.decide(ctx, e, d, stage.Labeled{Issue: about, Label: i.Label, At: i.UpdatedAt, Sender: who, Intent: d.Intent})
}

// labelObserved hears of a label whose webhook never came.
func (h *handler) labelObserved(ctx context.Context, e event.Event, l events.LabelObserved) ([]event.Event, error) {
	who := person(webhook.Actor{Login: l.Sender, ID: l.SenderID, Type: l.SenderType})
	repository := webhook.Repository{Name: l.Repository, ID: l.RepositoryID, CloneURL: l.CloneURL}
	d, err := h.deed(ctx, seen(repository, l.UpdatedAt, e), l.Issue, who)
	if err != nil {
		return nil, err
	}
	d.Intent = stage.LabelIntent(d.Repository.Key, l.Issue, l.Label, l.LabeledAt, e.ID())
	about := stage.Issue{
		Title: l.Title, Body: l.Body, URL: l.URL, BaseBranch: l.DefaultBase, CloneURL: l.CloneURL, Labels: l.Labels, UpdatedAt: l.UpdatedAt,
	}
	return h.decide(ctx, e, d, stage.Labeled{Issue: about, Label: l.Label, At: l.LabeledAt, Sender: who, Intent: d.Intent})
}

// pullRequest hears everything about pull requests, of which those of agents matter,
// and triggers that people set on others.
func (h *handler) pullRequest(ctx context.Context, e event.Event) ([]event.Event, error) {
	p, err := webhook.PullRequestFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(err)
	}
	who := person(p.Sender)
	d, err := h.deedOfPull(ctx, seen(p.Repository, p.PullRequest.UpdatedAt, e), p.PullRequest, who)
	if err != nil {
		return nil, err
	}
	pull := pullRequest(p.PullRequest)
	if p.Action != "labeled" {
		if d.Issue == 0 {
			return h.note(ctx, e)
		}
		return h.decide(ctx, e, d, stage.PullRequestChanged{Pull: pull, Action: p.Action, Sender: who})
	}
	in := stage.Labeled{Pull: &pull, Label: p.Label, At: p.PullRequest.UpdatedAt, Sender: who}
	if d.Issue == 0 {
		if !h.process.IsTrigger(p.Label) {
			return h.note(ctx, e)
		}
		d.Issue, in.Pull, in.Stray = pull.Number, nil, true
	}
	in.Intent = stage.LabelIntent(d.Repository.Key, pull.Number, p.Label, p.PullRequest.UpdatedAt, e.ID())
	d.Intent = in.Intent
	return h.decide(ctx, e, d, in)
}

func (h *handler) review(ctx context.Context, e event.Event) ([]event.Event, error) {
	r, err := webhook.ReviewFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(err)
	}
	author, who := person(r.Review.Author), person(r.Review.Author)
	if r.Action == "dismissed" {
		who, r.Review.State = person(r.Sender), r.Action
	}
	d, err := h.deedOfPull(ctx, seen(r.Repository, r.PullRequest.UpdatedAt, e), r.PullRequest, who)
	if err != nil {
		return nil, err
	}
	if d.Issue == 0 || r.Action != "submitted" && r.Action != "dismissed" {
		return h.note(ctx, e)
	}
	pull := pullRequest(r.PullRequest)
	pull.Draft = nil // GitHub sends a shorter form here
	d.Intent = stage.ReviewIntent(d.Repository.Key, d.Issue, r.Review.ID)
	return h.decide(ctx, e, d, stage.Reviewed{
		Review: stage.Review{ID: r.Review.ID, Author: author.Login, Body: r.Review.Body}, State: r.Review.State,
		CommitSHA: r.Review.CommitSHA, At: r.Review.SubmittedAt, Pull: pull, Sender: who, Intent: d.Intent,
	})
}

func (h *handler) runRequested(ctx context.Context, e event.Event, r events.RunRequested) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project)
}

func (h *handler) runFinished(ctx context.Context, e event.Event, r events.RunFinished) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project)
}

func (h *handler) runDeadline(ctx context.Context, e event.Event, r events.RunDeadline) ([]event.Event, error) {
	return h.ofRun(ctx, e, r.RunRef, r)
}

func (h *handler) runCheck(ctx context.Context, e event.Event, r events.RunCheck) ([]event.Event, error) {
	return h.ofRun(ctx, e, r.RunRef, r)
}

func (h *handler) agentStarted(ctx context.Context, e event.Event, a events.AgentStarted) ([]event.Event, error) {
	return h.ofRun(ctx, e, a.RunRef, a)
}

func (h *handler) agentFailed(ctx context.Context, e event.Event, a events.AgentFailed) ([]event.Event, error) {
	return h.ofRun(ctx, e, a.RunRef, a)
}

func (h *handler) agentReported(ctx context.Context, e event.Event, a events.AgentReported) ([]event.Event, error) {
	return h.ofRun(ctx, e, a.RunRef, a)
}

func (h *handler) gitHubLookedUp(ctx context.Context, e event.Event, l events.GitHubLookedUp) ([]event.Event, error) {
	return h.ofRun(ctx, e, l.RunRef, l)
}

func (h *handler) agentFinished(ctx context.Context, e event.Event, a events.AgentFinished) ([]event.Event, error) {
	return h.ofRun(ctx, e, a.RunRef, stage.JobEnded{RunID: a.RunID, Attempt: a.Attempt})
}

// deed is which work item an event is about, and what of it a decision needs.
type deed struct {
	store.Wanted
	seen store.Sighting // what the event says of the repository
}

// deed finds the repository as it is known here, whatever it is called by now.
func (h *handler) deed(ctx context.Context, s store.Sighting, issue int, sender stage.Person) (deed, error) {
	home, err := h.db.Repository(ctx, s.ID, s.Name)
	return deed{store.Wanted{Repository: home, Issue: issue, Sender: store.Account{ID: sender.ID, Login: sender.Login}}, s}, err
}

// deedOfPull is the deed that a pull request is about; its issue is 0 when it is none of ours.
func (h *handler) deedOfPull(ctx context.Context, s store.Sighting, p webhook.PullRequest, sender stage.Person) (deed, error) {
	d, err := h.deed(ctx, s, 0, sender)
	if err == nil {
		d.Issue, err = h.issueOf(ctx, p, s.Name, d.Repository.Key)
	}
	return d, err
}

// seen is what a payload says of its repository, as of GitHub's time of the payload, else as of the event's.
func seen(r webhook.Repository, at time.Time, e event.Event) store.Sighting {
	if at.IsZero() {
		at = e.Time()
	}
	return store.Sighting{ID: r.ID, Name: r.Name, CloneURL: r.CloneURL, At: at}
}

// ofRun handles one event about a run, which stays where it is, whatever its repository is called in the event.
func (h *handler) ofRun(ctx context.Context, e event.Event, ref events.RunRef, in any) ([]event.Event, error) {
	home, err := h.db.RepositoryOfRun(ctx, ref.RunID)
	if errors.Is(err, store.ErrNotFound) {
		home, err = store.Repository{Key: strings.ToLower(ref.Repository), Name: ref.Repository}, nil
	}
	if err != nil {
		return nil, err
	}
	return h.decide(ctx, e, deed{Wanted: store.Wanted{Repository: home, Issue: ref.Issue, Run: ref.RunID}}, in)
}

// decide handles one event about a work item: load, decide, save.
func (h *handler) decide(ctx context.Context, e event.Event, d deed, in any) ([]event.Event, error) {
	var before, after *stage.Run
	emitted, err := h.db.Step(ctx, e, events.WorkItem(d.Repository.Key, d.Issue), func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		item, learnt, err := d.load(ctx, tx)
		if err != nil {
			return events.Decision{}, err
		}
		if d.Run != "" && item.Run == nil {
			return events.Decision{}, events.Reject("unknown_run", fmt.Errorf("run %s does not exist", d.Run))
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
		decision.Audit = append(learnt, decision.Audit...)
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

// load loads the work item, after taking over what the event says of names and numbers.
func (d deed) load(ctx context.Context, tx *store.Tx) (item stage.Item, learnt []events.Record, err error) {
	if d.Repository, learnt, err = tx.SeeRepository(ctx, d.Repository, d.seen); err != nil {
		return item, nil, err
	}
	known, err := tx.SeeAccount(ctx, d.Sender)
	if err != nil {
		return item, nil, err
	}
	learnt = append(learnt, known...)
	for _, r := range learnt {
		slog.InfoContext(ctx, r.Detail, "action", r.Action)
	}
	item, err = tx.Item(ctx, d.Wanted)
	return item, learnt, err
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
func (h *handler) issueOf(ctx context.Context, p webhook.PullRequest, repository, key string) (issue int, err error) {
	if m := agentBranch.FindStringSubmatch(p.HeadRef); m != nil && !p.FromFork(repository) {
		return strconv.Atoi(m[1])
	}
	issue, err = h.db.IssueOfPull(ctx, key, int(p.Number))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return issue, err
}

func pullRequest(p webhook.PullRequest) stage.PullRequest {
	return stage.PullRequest{
		Number: int(p.Number), URL: p.URL, HeadSHA: p.HeadSHA, Base: p.BaseRef, State: p.State,
		Merged: p.Merged, Draft: &p.Draft, Labels: p.Labels, UpdatedAt: p.UpdatedAt,
	}
}

func person(a webhook.Actor) stage.Person {
	return stage.Person{Login: a.Login, ID: a.ID, Bot: a.Bot()}
}
