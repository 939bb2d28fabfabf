package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/tool"
)

// use calls a tool for the run and carries out what the call leads to.
func (h *handler) use(ctx context.Context, c *call, t tool.Tool, arguments []byte) (string, error) {
	home, err := h.db.RepositoryOfRun(ctx, c.run.ID)
	if err != nil {
		return "", err
	}
	run := tool.Run{
		RunRef: c.run.Ref(), Stage: c.run.Stage, Role: c.run.Role, IssueURL: c.run.URL, HeadSHA: c.run.HeadSHA, PullRequest: c.run.PullRequest,
		RequestedBy: events.GitHubAccount{Login: c.run.RequestedBy, ID: c.run.RequestedByID},
		Label:       home.Process.LabelKind,
	}
	if c.run.Grant != nil {
		run.Free = c.run.Grant.Free
	}
	o, err := t.Call(run, arguments)
	switch {
	case err != nil:
		return "", err
	case o.Ask != nil:
		return h.ask(ctx, c, *o.Ask)
	case o.Do != nil:
		return h.do(ctx, c.run, *o.Do)
	case o.Progress != "":
		return "People see it.", h.db.SetProgress(ctx, c.run.ID, plain.Text(o.Progress))
	case o.Labels:
		return labels(c.run), nil
	case o.Past != nil:
		return h.past(ctx, c.run, *o.Past)
	}
	return h.history(ctx, c.run)
}

// ask asks people, and lets the run wait. What it has asked before is the same request: it waits on, or has its answer.
func (h *handler) ask(ctx context.Context, c *call, r events.ApprovalRequested) (string, error) {
	r, before, err := unused(c.run.Asks, r)
	if err != nil {
		return "", err
	}
	if before != nil && before.Answer != nil {
		return fmt.Sprintf("You have asked this before, as request %s. %s Asking again changes nothing.", before.ID, before.Told()), nil
	}
	r.At = h.db.Now()
	emitted, err := h.db.SaveAsk(ctx, r)
	if errors.Is(err, store.ErrTooMany) {
		return "", &tool.Error{Err: fmt.Errorf("this run has asked people %d times, which is all that it may. Go on with what you know, and say in your summary what is open", store.MaxAsked)}
	}
	if err != nil {
		return "", err
	}
	if err := h.send(ctx, emitted...); err != nil {
		slog.WarnContext(ctx, "the request is stored but not sent; timekeeper sends it", "run", c.run.ID, "request", r.ID, "error", err)
	}
	c.waits.Store(true)
	return fmt.Sprintf("People are asked: request %s. Your work pauses here, and goes on in a new container when they have decided; you are told then. Do nothing more now.", r.ID), nil
}

// unused is the request by which the run asks that now, and what it has asked by it. A yes is used once: where the
// platform has done something else with the same tool since, the same is another request.
func unused(asks []stage.Ask, r events.ApprovalRequested) (events.ApprovalRequested, *stage.Ask, error) {
	for {
		i := slices.IndexFunc(asks, func(a stage.Ask) bool { return a.ID == r.ID })
		if i < 0 {
			return r, nil, nil
		}
		later := slices.ContainsFunc(asks[i+1:], func(a stage.Ask) bool { return a.Action == r.Action && a.Result != nil })
		if asks[i].Result == nil || !later {
			return r, &asks[i], nil
		}
		var err error
		r.Repeat++
		if r, err = approval.Seal(r); err != nil {
			return r, nil, err
		}
	}
}

// do has done what needs nobody's yes, and tells what came of it. A call that is repeated is done again, which changes
// nothing.
func (h *handler) do(ctx context.Context, run store.AgentRun, r events.ApprovalRequested) (string, error) {
	id, name := uuid.NewString(), strings.TrimPrefix(r.Action, tool.ActionPrefix)
	emitted, err := h.db.SaveToolCall(ctx, events.ToolApproved{
		RunRef: run.Ref(), CallID: id, Tool: name, Arguments: r.Arguments, PullRequest: run.PullRequest,
		Namespace: run.Namespace, Stage: run.Stage, Role: run.Role, Attempt: run.Attempt, ExpiresAt: run.Deadline,
	})
	if errors.Is(err, store.ErrTooMany) {
		return "", &tool.Error{Err: fmt.Errorf("this run has used its tools %d times, which is all that it may. Go on without", store.MaxToolCalls)}
	}
	if err != nil {
		return "", err
	}
	if err := h.send(ctx, emitted...); err != nil {
		slog.WarnContext(ctx, "the tool call is stored but not sent; timekeeper sends it", "run", run.ID, "tool", name, "error", err)
	}
	return h.outcome(ctx, run.ID, id)
}

// lookEvery is how often an outcome is looked for. A doer takes a second when it is awake, and three from zero.
const lookEvery = 200 * time.Millisecond

// outcome waits for what comes of a call, for a bounded time: the function that does it may itself have to wait for
// GitHub or Kubernetes.
func (h *handler) outcome(ctx context.Context, runID, callID string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	for {
		switch c, known, err := h.db.ToolCall(ctx, runID, callID); {
		case known && c.Reason != "":
			return "", &tool.Error{Err: fmt.Errorf("it could not be done: %s", c.Text)}
		case known:
			return c.Text, nil
		case err != nil && ctx.Err() == nil:
			slog.WarnContext(ctx, "what came of a tool call can't be read yet", "run", runID, "call", callID, "error", err)
		}
		select {
		case <-ctx.Done():
			return "It needs nobody's yes, and the platform does it. What came of it is not known yet; go on with your work, run_history tells it later.", nil
		case <-time.After(lookEvery):
		}
	}
}

// labels describes the labels as GitHub last reported them.
func labels(run store.AgentRun) string {
	list := func(what string, labels []string) string {
		if len(labels) == 0 {
			return what + " has no labels."
		}
		return what + ": " + strings.Join(labels, ", ")
	}
	text := list(fmt.Sprintf("Issue #%d", run.Issue), run.Labels)
	if run.PullRequest != 0 {
		text += "\n" + list(fmt.Sprintf("Pull request #%d", run.PullRequest), run.PullLabels)
	}
	return text
}

// maxCalls are how many calls of a run its history tells, the last ones.
const maxCalls = 20

// history describes the issue's runs, the newest first.
func (h *handler) history(ctx context.Context, run store.AgentRun) (string, error) {
	past, err := h.db.History(ctx, run)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range past {
		fmt.Fprintf(&b, "%s of stage %s, %s: %s", p.Kind, p.Stage, p.CreatedAt.UTC().Format(time.DateTime), p.State)
		if p.ID == run.ID {
			b.WriteString(", this run")
		}
		if p.Reason != "" {
			fmt.Fprintf(&b, " (%s)", p.Reason)
		}
		b.WriteString("\n")
		for _, a := range p.Asks {
			fmt.Fprintf(&b, "  asked: %s\n  %s\n", a.Title, a.Told())
		}
		for _, c := range lastCalls(p.Calls) {
			fmt.Fprintf(&b, "  %s\n", c.Told())
		}
		if p.Summary != "" {
			fmt.Fprintf(&b, "  summary: %s\n", strings.ReplaceAll(p.Summary, "\n", "\n    "))
		}
	}
	return b.String(), nil
}
