package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/filter"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// Bounds of what one request reads.
const (
	usualPage  = 50
	mostRuns   = 200
	mostSteps  = 500
	usualLines = 500
	mostLines  = 2000
	searched   = 100_000 // lines of a log
	maxLine    = 64 << 10
)

func me(who store.Visitor) api.Me {
	m := api.Me{Login: who.Account.Login, Account: who.Account.ID, Roles: []api.Membership{}}
	for _, project := range who.Standing.Projects(access.ReadMe) {
		m.Roles = append(m.Roles, api.Membership{Project: project, Role: api.Role(who.Standing.In(project))})
	}
	for _, o := range access.Operations() {
		may := who.Standing.Projects(o)
		if may == nil {
			may = []string{}
		}
		m.Operations = append(m.Operations, struct {
			Name     string   `json:"name"`
			Projects []string `json:"projects"`
			Role     api.Role `json:"role"`
		}{string(o), may, api.Role(o.Least())})
	}
	return m
}

// runs are a page of those that the person may see.
func (h *handler) runs(ctx context.Context, who store.Visitor, p api.ListRunsParams) (api.RunList, error) {
	list := api.RunList{Items: []api.Run{}}
	f, err := filter.Parse(p.Q)
	if err != nil {
		return list, problem{slug: "bad-filter", detail: err.Error(), at: "q"}
	}
	limit, err := bound("limit", p.Limit, usualPage, mostRuns)
	if err != nil {
		return list, err
	}
	before, id, err := f.After(p.Cursor)
	if err != nil {
		return list, problem{slug: "bad-cursor", at: "cursor"}
	}
	found, err := h.db.Runs(ctx, store.RunFilter{
		Projects: who.Standing.Projects(access.ReadRuns), States: f.States, Project: f.Project, Stage: f.Stage, Role: f.Role, Model: f.Model, By: f.By,
		Repository: f.Repository, Issue: f.Issue, Before: before, BeforeID: id,
	}, limit+1)
	if err != nil {
		return list, err
	}
	if len(found) > limit {
		found = found[:limit]
		last := found[limit-1]
		list.Next = f.Cursor(last.Created, last.ID)
	}
	for _, r := range found {
		list.Items = append(list.Items, h.run(r))
	}
	return list, nil
}

// bound is a number that a caller may give; 0 = it did not.
func bound(name string, n, usual, most int) (int, error) {
	switch {
	case n == 0:
		return usual, nil
	case n < 0 || n > most:
		return 0, problem{slug: "bad-request", detail: fmt.Sprintf("%s is %d: it may be 1 to %d", name, n, most), at: name}
	}
	return n, nil
}

func (h *handler) run(r store.RunRow) api.Run {
	until := r.Finished
	if until.IsZero() {
		until = h.db.Now()
	}
	return api.Run{
		Id: r.ID, Project: r.Project, Repository: r.Repository, Issue: r.Issue, Title: r.Title, Stage: r.Stage, Kind: api.RunKind(r.Kind), Role: r.Role,
		Engine: r.Engine, Model: r.Model, Reasoning: r.Reasoning, State: api.State(r.State), WaitingFor: r.WaitingFor, Reason: r.Reason, Message: r.Message,
		RequestedBy: r.RequestedBy, CreatedAt: r.Created, StartedAt: r.Started, FinishedAt: r.Finished,
		Seconds: max(0, int64(until.Sub(r.Created)/time.Second)), CostMicrousd: r.CostMicroUSD, PullRequest: r.PullRequest, PullRequestUrl: r.PullRequestURL,
	}
}

// visible reads a run for a person who asks to do something with it. Whether it is another project's or nobody's looks
// the same to them.
func (h *handler) visible(ctx context.Context, who store.Visitor, id string, o access.Operation) (store.RunView, error) {
	v, err := h.db.RunView(ctx, id)
	switch {
	case err != nil:
		return store.RunView{}, err
	case !who.Standing.May(access.ReadRuns, v.Project):
		return store.RunView{}, store.ErrNotFound
	case !who.Standing.May(o, v.Project):
		return store.RunView{}, problem{slug: "forbidden", detail: string(o.Least())}
	}
	return v, nil
}

func (h *handler) runDetail(ctx context.Context, who store.Visitor, id string) (api.RunDetail, error) {
	v, err := h.visible(ctx, who, id, access.ReadRuns)
	if err != nil {
		return api.RunDetail{}, err
	}
	d := api.RunDetail{
		Run: h.run(v.RunRow), Namespace: v.Namespace, Attempt: v.Attempt, Deadline: v.Deadline, HeartbeatAt: v.Heartbeat, Progress: v.Progress, Summary: v.Summary,
		IssueUrl: v.IssueURL, BaseBranch: v.Base, HeadSha: v.Head, LogLines: v.LastLine, Asks: []api.Ask{}, Prompt: map[string]string{},
		Usage: api.Usage{Calls: v.Usage.Calls, InputTokens: v.Usage.Input, CachedTokens: v.Usage.Cached, OutputTokens: v.Usage.Output,
			CostMicrousd: v.Usage.CostMicroUSD, Unpriced: v.Usage.Unpriced},
	}
	if v.Task != nil {
		d.Task = v.Task.Body
	}
	if v.Grant != nil {
		d.Process = v.Grant.Process
	}
	for name, value := range v.Prompt {
		d.Prompt[name] = fmt.Sprint(value)
	}
	for _, a := range v.Asks {
		d.Asks = append(d.Asks, askOf(a))
	}
	return d, nil
}

func askOf(a stage.Ask) api.Ask {
	ask := api.Ask{Id: a.ID, Kind: string(a.Kind), Title: a.Title, State: "open", AskedAt: a.At}
	if a.Answer != nil {
		ask.State, ask.DecidedAt, ask.DecidedBy = string(a.Answer.Outcome), a.Answer.At, strings.Join(a.Answer.By, ", ")
	}
	return ask
}

func (h *handler) timeline(ctx context.Context, who store.Visitor, id string) (api.Timeline, error) {
	if _, err := h.visible(ctx, who, id, access.ReadRuns); err != nil {
		return api.Timeline{}, err
	}
	acts, err := h.db.RunActs(ctx, id, mostSteps)
	if err != nil {
		return api.Timeline{}, err
	}
	t := api.Timeline{Items: []api.Step{}}
	for _, a := range acts {
		t.Items = append(t.Items, api.Step{Seq: a.Seq, At: a.At, Actor: a.Actor, Action: a.Action, Reason: a.Reason, Detail: a.Detail, Function: a.Function})
	}
	return t, nil
}

// log is a window of a run's log.
func (h *handler) log(ctx context.Context, who store.Visitor, id string, p api.GetLogParams) (api.Log, error) {
	l := api.Log{Items: []api.Line{}}
	limit, err := bound("limit", p.Limit, usualLines, mostLines)
	if err != nil {
		return l, err
	}
	if p.From < -store.MaxLogLines || p.From > store.MaxLogLines {
		return l, problem{slug: "bad-request", detail: fmt.Sprintf("from is %d: a log has %d lines at most", p.From, store.MaxLogLines), at: "from"}
	}
	if _, err := h.visible(ctx, who, id, access.ReadRuns); err != nil {
		return l, err
	}
	if l.Last, err = h.db.LastLine(ctx, id); err != nil {
		return l, err
	}
	from := p.From
	if from < 0 {
		from += l.Last + 1
	}
	from = max(from, 1)
	var lines []store.LogLine
	if p.Grep == "" {
		lines, err = h.db.Logs(ctx, id, from, limit)
	} else {
		lines, err = h.db.SearchLog(ctx, id, plain.Text(p.Grep), from, searched, limit)
		if err == nil && len(lines) < limit && from+searched <= l.Last {
			l.SearchedTo = from + searched - 1
		}
	}
	if err != nil {
		return l, err
	}
	for _, line := range lines {
		l.Items = append(l.Items, lineOf(line))
	}
	return l, nil
}

func lineOf(line store.LogLine) api.Line {
	return api.Line{Seq: line.Seq, At: line.At, Stream: line.Stream, Text: plain.Cut(line.Text, maxLine)}
}
