package stage

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/tool"
)

// tools are those that an agent has in a stage: what its role and the stage allow, and some rule lets it have, without
// anybody's yes (free) or with one.
func (p *Process) tools(s Stage, settings project.Settings) (names, free []string) {
	role, all := p.Role(s.Role), tool.All()
	names = make([]string, 0, len(all))
	for _, t := range all {
		if !allows(role.Tools, t.Name) || t.Named && role.Tools == nil || !allows(s.Tools, t.Name) || t.Name == tool.DatabaseLifecycle && settings.Database == "" {
			continue
		}
		if t.Action != "" {
			fits, isFree := approval.Offers(t.Action, s.Role, settings.Approvals, &p.Approvals)
			if !fits {
				continue
			}
			if isFree {
				free = append(free, t.Name)
			}
		}
		names = append(names, t.Name)
	}
	if _, isFree := approval.Offers(tool.ActionPrefix+tool.PullRequestLabels, s.Role, settings.Approvals, &p.Approvals); isFree {
		free = append(free, tool.PullRequestLabels)
	}
	return names, free
}

func allows(list []string, name string) bool { return list == nil || slices.Contains(list, name) }

// LabelKind says what a label is to the platform, for an agent that wants it, and its name as the process spells it.
func (p *Process) LabelKind(label string) (tool.Label, string) {
	t, known, trigger := p.Trigger(label)
	switch {
	case t.Kind == events.KindReview:
		return tool.Owned, label
	case trigger && (t.Abort || !known):
		return tool.Stops, label
	case trigger:
		return tool.Starts, p.LabelOf(t.Stage, t.Kind)
	}
	l := p.Labels
	for _, pattern := range []string{p.Models.Label, p.Reasoning.Label, l.Profile} {
		if value, _ := choice(pattern, []string{label}); value != "" {
			return tool.Owned, label
		}
	}
	for _, own := range append([]string{
		l.Blocked, l.InReview, l.Approved, l.Superseded, l.Abandoned, l.NeedInput, l.Reviewer, l.Discussion,
	}, l.Needs...) {
		family, _, several := strings.Cut(own, ":") // state:blocked and state:approved are of one
		if same(label, own) || several && strings.HasPrefix(fold(label), fold(family+":")) {
			return tool.Owned, label
		}
	}
	return tool.Plain, label
}

// A Result is what came of what people have approved, where the platform does it.
type Result struct {
	Text   string    `json:"text"`             // for the agent
	Reason string    `json:"reason,omitempty"` // why it could not be done; "" = it is done
	At     time.Time `json:"at"`
}

// A Call is what the platform did for the run's agent without asking anybody, or could not do.
type Call struct {
	ID        string          `json:"id"` // UUID
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // of what lasts (tool.Lasts)
	Result
}

// Told says what came of it, for the agent.
func (c Call) Told() string {
	if c.Reason != "" {
		return c.Tool + " could not be done: " + c.Text
	}
	return c.Tool + " is done: " + c.Text
}

// Made is what the platform has made for a run that lasts as long as its namespace, oldest first: asked for or not.
func Made(asks []Ask, calls []Call) (made []Call) {
	for _, a := range asks {
		if name, ok := strings.CutPrefix(a.Action, tool.ActionPrefix); ok && a.Result != nil {
			calls = append(slices.Clip(calls), Call{ID: a.ID, Tool: name, Arguments: a.Arguments, Result: *a.Result})
		}
	}
	for _, c := range calls {
		if c.Reason == "" && tool.Lasts(c.Tool) {
			made = append(made, c)
		}
	}
	slices.SortStableFunc(made, func(a, b Call) int { return a.At.Compare(b.At) })
	return made
}

// Next is a label that starts a run when the present one has succeeded: an agent wanted it, and a person said yes.
type Next struct {
	Label     string               `json:"label"`
	By        events.GitHubAccount `json:"by"`
	RequestID string               `json:"requestId"`
}

// approved does what people have said yes to, if it is the platform's to do.
func (d *decision) approved(a *Ask, in events.ApprovalDecided) {
	run := d.item.Run
	switch name, ok := strings.CutPrefix(a.Action, tool.ActionPrefix); {
	case a.Answer.Outcome != approval.Approved:
	case ok:
		left := run.Deadline.Sub(run.PausedAt)
		d.emit(events.ToolApproved{
			RunRef: d.item.Ref(), CallID: a.ID, Tool: name, Arguments: a.Arguments, PullRequest: d.item.pullOf(run.Stage).Number,
			Namespace: run.Namespace, Stage: run.Stage, Role: run.Role, Attempt: run.Attempt,
			ExpiresAt: d.now.Add(left + d.settings().KeepFor(d.p.StageOf(run.Stage, run.Kind).Keep)),
		})
	case strings.HasPrefix(a.Action, tool.LabelPrefix):
		a.Result = d.keepLabel(strings.TrimPrefix(a.Action, tool.LabelPrefix), in)
	}
}

// keepLabel keeps a label for the time when the run is over, as the word of whoever approved it first.
func (d *decision) keepLabel(label string, in events.ApprovalDecided) *Result {
	switch {
	case len(in.People) == 0:
		return &Result{At: d.now, Reason: "nobody_known", Text: "Whoever approved it is not known on GitHub, so it is nobody's right to start a run. A person has to set the label."}
	case d.item.Next != nil:
		return &Result{At: d.now, Reason: "another_waits", Text: d.item.Next.Label + " is set already when this run has succeeded, and one run follows on another."}
	}
	d.item.Next = &Next{Label: label, By: in.People[0], RequestID: in.RequestID}
	return &Result{At: d.now, Text: label + " takes effect when this run has succeeded."}
}

// startNext lets the label that was kept start its run, now that this one is over. It was approved for work that is
// done.
func (d *decision) startNext() {
	next := d.item.Next
	if next == nil {
		return
	}
	d.item.Next = nil
	if d.item.Run.State != Succeeded {
		d.audit(actor(Person{Login: next.By.Login}), "label.dropped", string(d.item.Run.State), "%s, of request %s", next.Label, next.RequestID)
		d.note(next.Label, "The agent wanted it, and "+next.By.Login+" said yes for when its run had succeeded. It has not. If it still holds, set the label.")
		return
	}
	d.emit(events.LabelApproved{RunRef: d.item.Ref(), Label: next.Label, By: next.By, RequestID: next.RequestID})
}

// executed keeps what came of what people have approved, for the run's next Job.
func (d *decision) executed(in events.ToolExecuted) {
	run := d.item.Run
	asked := run.ask(in.CallID)
	switch {
	case asked == nil: // nobody had to be asked
		d.called(in)
		return
	case asked.Answer == nil || asked.Result != nil || !d.item.active():
		d.audit(platform, "tool.executed.late", "known", "%s: %s", in.Tool, in.Result)
		return
	}
	run.Asks = slices.Clone(run.Asks)
	run.ask(in.CallID).Result = &Result{Text: in.Result, Reason: in.Reason, At: d.now}
	d.audit(platform, "tool.executed", in.Reason, "request %s, %s: %s", in.CallID, in.Tool, in.Result)
	d.goOn()
}

// called keeps what came of a call, for the agent that waits for it and for the run's next Job.
func (d *decision) called(in events.ToolExecuted) {
	run := d.item.Run
	if slices.ContainsFunc(run.Calls, func(c Call) bool { return c.ID == in.CallID }) {
		d.audit(platform, "tool.executed.late", "known", "%s: %s", in.Tool, in.Result)
		return
	}
	c := Call{ID: in.CallID, Tool: in.Tool, Result: Result{Text: in.Result, Reason: in.Reason, At: d.now}}
	if tool.Lasts(in.Tool) {
		c.Arguments = in.Arguments
	}
	run.Calls = append(slices.Clip(run.Calls), c)
	d.audit(platform, "tool.executed", in.Reason, "%s: %s", in.Tool, in.Result)
}

// wanted starts the run of a label that was kept, by the rights of whoever approved it: as if they had set it now.
func (d *decision) wanted(in events.LabelApproved) {
	by := Person{Login: in.By.Login, ID: in.By.ID}
	t, known, _ := d.p.Trigger(in.Label)
	cause, why := d.mayTrigger(by)
	switch {
	case cause != "":
	case d.item.IntentKnown:
		d.audit(actor(by), "label.ignored", reason.IntentKnown, "%s, of request %s", in.Label, in.RequestID)
		return
	case !known || t.Abort:
		cause, why = reason.UnknownStage, "No stage has this label any more."
	case d.item.working():
		cause, why = reason.RunActive, "Another run was started meanwhile. Set the label when it has ended."
	default:
		cause, why = d.gate(t)
	}
	if cause != "" {
		d.audit(actor(by), "label.ignored", cause, "%s, of request %s: %s", in.Label, in.RequestID, why)
		d.note(in.Label, "The agent wanted it, and "+by.Login+" said yes. "+why)
		return
	}
	d.audit(actor(by), "label.approved", "", "%s, by account %d on request %s of run %s", in.Label, by.ID, in.RequestID, in.RunID)
	d.item.Answered = without(d.item.Answered, in.Label)
	d.request(t, by, wantedIntent(in), d.reviewsUntil(t, d.now))
}

// wantedIntent is the meaning of a label that was approved: a request is used once.
func wantedIntent(in events.LabelApproved) string { return approvedIntent + in.RequestID }

const approvedIntent = "request "

func (d *decision) settings() project.Settings {
	if d.item.Project == nil {
		return project.Settings{}
	}
	return d.item.Project.Settings
}

// settled reports whether nothing more has to come of it before the run goes on: it has its answer, and what the
// platform does after a yes is done.
func (a Ask) settled() bool {
	return a.Answer != nil && (a.Result != nil || a.Answer.Outcome != approval.Approved || !strings.HasPrefix(a.Action, tool.ActionPrefix))
}

// Outcome is what has become of it, in one word for the agent, with what there is to say of it.
func (a Ask) Outcome() (word, said string) {
	switch {
	case a.Result == nil:
		return string(a.Answer.Outcome), a.Said()
	case a.Result.Reason != "":
		return "not_done", a.Result.Text
	}
	return "done", cmp.Or(a.Result.Text, a.Said())
}
