package main

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// Bounds of what is read about an issue.
const (
	issueRuns = 50
	issueActs = 40
)

// issue is where an issue stands, as of one moment, and what the same rules that decide would make of labels now.
// Whether it is another project's or nobody's looks the same to whoever asks.
func (h *handler) issue(ctx context.Context, who store.Visitor, home store.Home, before int64) (api.IssueDetail, error) {
	d := api.IssueDetail{Repository: home.Repository.Name, Number: home.Issue, Outstanding: []api.Outstanding{}, Acts: []api.Act{}}
	list, err := h.runs(ctx, who, api.ListRunsParams{Q: "issue:" + events.WorkItem(home.Repository.Key, home.Issue), Limit: issueRuns})
	if err != nil {
		return d, err
	}
	d.Runs = list.Items
	err = h.db.Look(ctx, func(ctx context.Context, tx *store.Tx) error {
		item, err := tx.Known(ctx, home, stage.Needs{Artefacts: true, Lately: true})
		switch {
		case err != nil:
			return err
		case item.Project == nil || !who.Standing.May(access.ReadRuns, item.Project.ID):
			return store.ErrNotFound
		}
		d.Title, d.Url, d.Closed, d.Known = item.Title, item.URL, item.Closed, item.Title != "" || item.Run != nil
		d.Labels, d.Wanted, d.Profile = slices.Clip(append([]string{}, item.Labels...)), append([]string{}, item.Projection()...), item.Way().Name
		d.Process = home.Repository.Process.Hash
		d.Project = item.Project.ID
		if item.Held != nil && !item.Held.Skipped {
			d.Held = item.Held.Label
		}
		if item.Next != nil {
			d.Follows = item.Next.Label
		}
		d.Stages = stagesOf(item, d.Runs)
		prospects, err := stage.Prospects(item, tx.Now())
		if err != nil {
			return err
		}
		for _, p := range prospects {
			d.Prospects = append(d.Prospects, prospectOf(p))
		}
		if d.Calls, d.CostMicrousd, err = tx.SpentOn(ctx, d.Project, home.Key()); err != nil {
			return err
		}
		return h.history(ctx, tx, home, item, before, &d)
	})
	return d, err
}

// history is what was decided about the issue, and what is yet to be handled.
func (h *handler) history(ctx context.Context, tx *store.Tx, home store.Home, item stage.Item, before int64, d *api.IssueDetail) error {
	owed, err := tx.Outstanding(ctx, home.Names(item))
	if err != nil {
		return err
	}
	for _, o := range owed {
		d.Outstanding = append(d.Outstanding, api.Outstanding{
			Function: o.Function, Type: kindOf(o.Type), Id: o.ID, StoredAt: o.Stored, DueAt: o.Due, Timer: o.Timer && o.Due.After(tx.Now()), Died: o.Died, Error: o.Error,
		})
	}
	run := ""
	if item.Run != nil {
		run = item.Run.ID
	}
	acts, err := tx.Acts(ctx, home.Key(), run, before, issueActs)
	if err != nil {
		return err
	}
	for _, a := range acts {
		d.Acts = append(d.Acts, api.Act{
			Seq: a.Seq, At: a.At, Actor: a.Actor, Action: a.Action, Reason: a.Reason, Detail: a.Detail, Advice: reason.OfAct(a.Action, a.Reason),
			Run: a.Run, Function: a.Function, Event: kindOf(a.EventType), EventId: a.EventID, Process: a.Process,
		})
	}
	if len(acts) >= issueActs {
		d.Older = acts[len(acts)-1].Seq
	}
	return nil
}

// kindOf is an event's type as people say it: github.issues, agent.reported.
func kindOf(eventType string) string {
	return strings.TrimPrefix(strings.TrimPrefix(eventType, events.Prefix), "dev.knative.source.")
}

// stagesOf are the stages of the issue's process, with the runs of each.
func stagesOf(item stage.Item, runs []api.Run) (all []api.IssueStage) {
	last, of := map[string]stage.State{}, map[string]*api.IssueStage{}
	for _, r := range slices.Backward(runs) {
		if r.Kind == api.RunKindWork || r.Kind == api.RunKindRevise {
			last[r.Stage] = stage.State(r.State)
		}
	}
	for _, st := range item.Standings(last) {
		s := api.IssueStage{
			Name: st.Name, Label: st.Label, About: st.About, Role: st.Role, State: api.IssueStageState(st.Is), Beside: st.Beside,
			PullRequest: st.Pull.Number, PullRequestUrl: st.Pull.URL, Needs: gates(st.Needs), Makes: gates(st.Makes), Leads: append([]string{}, st.Leads...),
		}
		all = append(all, s)
	}
	for i := range all {
		of[all[i].Name] = &all[i]
	}
	for _, r := range runs {
		s := of[r.Stage]
		if s == nil {
			continue
		}
		if s.Runs++; s.Run == "" {
			s.Run = r.Id
		}
		s.CostMicrousd += r.CostMicrousd
	}
	return all
}

func gates(pieces []stage.Piece) []api.Gate {
	all := []api.Gate{}
	for _, p := range pieces {
		all = append(all, api.Gate{Name: p.Name, Path: p.Path, Made: p.Made})
	}
	return all
}

func prospectOf(p stage.Prospect) api.Prospect {
	is := api.Prospect{
		Act: p.Act, Does: api.Changes, Reason: p.Reason, Why: strings.TrimPrefix(p.Why, p.Act+": "), Advice: reason.Advice(reason.Ignored, p.Reason),
		On: both(p.LabelsOn, p.PullOn), Off: both(p.LabelsOff, p.PullOff),
	}
	switch {
	case p.Started != nil:
		is.Does, is.Stage, is.Model = api.Starts, p.Started.Stage, p.Started.Model
	case p.Ended != nil:
		is.Does = api.Stops
	case p.Reason != "":
		is.Does = api.Nothing
	}
	return is
}

// both are the labels of issue and pull request, each once.
func both(issue, pull []string) []string {
	all := slices.Concat(issue, pull)
	slices.Sort(all)
	return slices.Compact(all)
}

func (c contract) GetIssue(ctx context.Context, r api.GetIssueRequestObject) (api.GetIssueResponseObject, error) {
	home, err := c.h.db.Find(ctx, plain.Text(r.Owner+"/"+r.Repository), r.Number)
	if err != nil {
		return nil, err
	}
	d, err := c.h.issue(ctx, visitor(ctx), home, r.Params.Before)
	return api.GetIssue200JSONResponse(d), err
}

// issuePage shows an issue. A pull request of an agent leads to its issue.
func (h *handler) issuePage(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
	number, err := strconv.ParseInt(r.PathValue("issue"), 10, 32)
	if err != nil || number < 1 {
		return page.Frame{}, store.ErrNotFound
	}
	home, err := h.db.Find(r.Context(), plain.Text(r.PathValue("owner")+"/"+r.PathValue("repository")), int(number))
	if err != nil {
		return page.Frame{}, err
	}
	before, _ := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64) // what is no number is the first page
	d, err := h.issue(r.Context(), who, home, max(0, before))
	if err == nil && d.Number != int(number) {
		return page.Frame{Elsewhere: page.IssuePath(d.Repository, d.Number)}, nil
	}
	may := who.Standing.May(access.StartRuns, d.Project)
	return page.Frame{Name: "issue", Live: aboutIssue + ":" + home.Key(), Body: page.NewIssue(d, may)}, err
}
