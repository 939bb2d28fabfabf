package stage

import (
	"fmt"
	"slices"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/reason"
)

// Money is what admission must know of a run's spending.
type Money struct {
	WorkItem string // its key, as budgets name it
	// ModelUntil is until when the run's model is not to be asked; zero = it may be.
	ModelUntil time.Time
	// Reserved is up to where the run's spending is reserved while it has a Job.
	Reserved budget.Amount
	// Past is what the last runs of the stage and the model in the project have spent, if this one waits for a place.
	Past []budget.Amount
	// Net is what has been spent from the project's own budgets, without what people have added to them.
	Net map[budget.Scope]budget.Amount
}

// funds are a project's budgets while its waiting runs are admitted.
type funds struct {
	reserved budget.Amount // for runs that have a Job, and not yet spent
	asks     bool          // a run has a Job, or waits for people to extend a budget
	short    string        // why reserve has found too little
	until    time.Time     // when that budget begins anew; zero = never
}

func fundsOf(places []Place) *funds {
	f := &funds{}
	for _, q := range places {
		if q.State.HoldsPod() {
			f.reserved = f.reserved.Plus(q.Reserved.Minus(q.Spent).Max(budget.Amount{}))
		}
		f.asks = f.asks || q.State.HoldsPod() || q.State == Waiting && q.WaitingFor == ForBudget
	}
	return f
}

// reserve sets the run's budgets, and reserves in those that it shares with other runs what it is likely to need. It
// reports false if that is more than is left while others spend. A run that is alone starts with what is there: when
// that is used up, it is the one that asks people.
func (f *funds) reserve(s project.Settings, q *Place, now time.Time) bool {
	q.Bounds = budget.Bounds(q.ID, q.WorkItem, q.Project, q.Stage, s.Budgets, &q.Process.Budgets)
	need := budget.Estimate(q.Past, q.Process.Stage(q.Stage).Estimate).Minus(q.Spent).Max(budget.Amount{})
	for _, b := range q.Bounds {
		if !b.Wide() {
			continue
		}
		a := budget.Account{Bound: b, Period: b.Period(now), Spent: q.Net[b.Scope], Others: f.reserved}
		if short, _ := budget.Blocked([]budget.Account{a}, need); short != nil && f.asks {
			f.short, f.until = "budget_"+string(b.Scope), b.Until(now)
			return false
		}
		need = a.Within(need)
	}
	q.Reserved = q.Spent.Plus(need)
	f.reserved, f.asks = f.reserved.Plus(need), true
	return true
}

// worked counts the time that the present Job was at work until then.
func (r *Run) worked(until time.Time) {
	if !r.StartedAt.IsZero() && !r.StartedAt.Before(r.ResumedAt) && until.After(r.StartedAt) {
		r.WorkMS += until.Sub(r.StartedAt).Milliseconds()
	}
}

// extended reports whether the run may go on after that answer. One that was to get more money and does not is stopped.
func (d *decision) extended(a *Ask) bool {
	if !budget.IsAsk(a.Action) {
		return true
	}
	if _, ok := budget.More(a.Arguments, a.Answer.Option); ok && a.Answer.Outcome == approval.Answered {
		return true
	}
	d.stop(Cancelled, reason.Budget, a.Title+" "+a.Told())
	return false
}

// takeExtensions are what people have added to budgets since the run went on the last time.
func (r *Run) takeExtensions(now time.Time) (all []events.BudgetExtension) {
	r.Asks = slices.Clone(r.Asks)
	for i, a := range r.Asks {
		if more, ok := budget.More(a.Arguments, a.Answer.Option); ok && budget.IsAsk(a.Action) && a.Result == nil {
			r.Asks[i].Result = &Result{At: now, Text: a.Said()}
			all = append(all, more)
		}
	}
	return all
}

// warned shows people how much of a budget is used, in the status comment, and tells them once where they would be
// asked to extend it. In quiet hours that waits.
func (d *decision) warned(in events.BudgetWarned) {
	run := d.item.Run
	if slices.ContainsFunc(run.Warned, func(w Warning) bool { return w.Scope == in.Scope && w.Percent >= in.Percent }) {
		d.audit(platform, "budget.warned.late", "known", "%s", in.Line)
		return
	}
	run.Warned = slices.DeleteFunc(slices.Clone(run.Warned), func(w Warning) bool { return w.Scope == in.Scope })
	run.Warned = append(run.Warned, Warning{Scope: in.Scope, Percent: in.Percent, Line: in.Line})
	d.redo = true
	d.audit(platform, "budget.warned", in.Scope, "%s", in.Line)
	terms := approval.For(budget.ActionPrefix+in.Scope, run.Role, d.settings().Approvals, &d.p.Approvals)
	if terms == nil {
		return
	}
	d.later(terms.Loud(d.now).Sub(d.now), events.NoticeRequested{
		RunRef: d.item.Ref(), Key: fmt.Sprintf("budget %s %s %d", in.Scope, run.ID, in.Percent), Targets: terms.Targets,
		Text: fmt.Sprintf("%s, by %s on %s#%d.", in.Line, d.p.LabelOf(run.Stage, run.Kind), d.item.Repository, d.item.Issue),
	})
}
