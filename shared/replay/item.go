package replay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
)

// An item is an issue in flight, on both sides.
type item struct {
	key      string
	home     Home
	sides    [2]side         // by the process in force, by the changed one
	recorded map[string]bool // runs that the log says were requested
	pulls    []string        // under which it is in Replay.pulls
	unsure   bool            // the process in force does not replay as recorded
	issue    Issue           // what is told of it
}

// A side is what the issue has come to by one process.
type side struct {
	process *stage.Process
	item    stage.Item
	intents map[string]bool // that were decided
	runs    map[string]bool // that it has started

	report *events.AgentReported // the newest
}

const inForce, changed = 0, 1

// noRecord is why a run ends that only one side has started: no agent ever worked on it.
const noRecord = "no_record"

// requested compares a run that the log says was requested with what the process in force has started.
func (r *Replay) requested(p events.RunRequested) {
	r.Total.Runs++
	if i := r.runs[p.RunID]; i != nil && i.sides[inForce].runs[p.RunID] {
		r.Total.Same++
		i.recorded[p.RunID] = true
		return
	}
	if i := r.items[events.WorkItem(p.Repository, p.Issue)]; i != nil {
		i.unsure = true
		return
	}
	r.leftOut(events.WorkItem(p.Repository, p.Issue))
}

func (r *Replay) leftOut(key string) {
	if r.Total.Left++; len(r.Total.Unsure) < listed {
		r.Total.Unsure = append(r.Total.Unsure, key)
	}
}

// begun lets a run begin that began then, on the sides that have it.
func (r *Replay) begun(run string, now time.Time) {
	i := r.runs[run]
	if i == nil {
		return
	}
	for n := range i.sides {
		it := &i.sides[n].item
		if it.Run == nil || it.Run.ID != run || !it.Run.State.Queues() {
			continue
		}
		place := stage.Place{Run: *it.Run, Repository: it.Repository, Issue: it.Issue}
		for _, a := range stage.Admit(project.Settings{}, []stage.Place{place}, now) {
			it.Run = &a.Run
		}
	}
}

// finished ends a run as it ended, on the sides that still have it: an agent fell silent, or a timer came.
func (r *Replay) finished(p events.RunFinished, e event.Event, now time.Time) {
	i := r.runs[p.RunID]
	if i == nil {
		return
	}
	var out [2]outcome
	for n := range i.sides {
		s := &i.sides[n]
		if s.item.Run == nil || s.item.Run.ID != p.RunID || s.item.Run.State.Final() {
			continue
		}
		out[n].ended = ended(p.State, p.Reason)
		if left := s.item.Run.Deadline; p.State == string(stage.TimedOut) && left.After(now) {
			out[n].ended = "goes on until " + left.UTC().Format(time.DateTime) + " at most; how it ends is not known"
		}
		s.end(stage.State(p.State), p.Reason, now)
	}
	r.compare(i, e, now, "run "+p.RunID+" ends", out)
}

// end brings the newest run to a final state that no event led to.
func (s *side) end(state stage.State, cause string, now time.Time) {
	run := *s.item.Run
	run.State, run.Reason, run.FinishedAt = state, cause, now
	s.item.Run = &run
}

// heard plays an input on both sides of the item that it is about.
func (r *Replay) heard(e event.Event, about stage.Subject, in stage.Input, now time.Time) error {
	if about.Run != "" {
		if i := r.runs[about.Run]; i != nil {
			return r.both(i, e, [2]stage.Input{in, in}, now)
		}
		return nil // no side has that run
	}
	home, err := r.Home(about.RepositoryID, about.Repository)
	if err != nil {
		return err
	}
	if about.Issue != 0 {
		return r.both(r.of(home, about.Issue), e, [2]stage.Input{in, in}, now)
	}
	if i := r.pulls[events.WorkItem(home.Key, about.Pull)]; i != nil && i.sides[inForce].item.PullOf(about.Pull).Number != 0 {
		return r.both(i, e, [2]stage.Input{in, in}, now)
	}
	// A pull request of people.
	stray := [2]stage.Input{stage.Stray(home.Process, in), stage.Stray(home.Changed, in)}
	if stray[inForce] == nil && stray[changed] == nil {
		return nil
	}
	return r.both(r.of(home, about.Pull), e, stray, now)
}

func (r *Replay) both(i *item, e event.Event, in [2]stage.Input, now time.Time) error {
	var out [2]outcome
	for n := range i.sides {
		if in[n] == nil {
			continue
		}
		var err error
		if out[n], err = r.side(i, n, textless(in[n]), now); err != nil {
			return err
		}
	}
	r.compare(i, e, now, what(e, in), out)
	if i.isOver() {
		return r.leave(i)
	}
	return nil
}

// of is the repository's item of that number, in flight from now on.
func (r *Replay) of(home Home, number int) *item {
	key := events.WorkItem(home.Key, number)
	i := r.items[key]
	if i == nil {
		i = &item{key: key, home: home, recorded: map[string]bool{}, issue: Issue{Key: events.WorkItem(home.Name, number)}}
		for n, p := range []*stage.Process{home.Process, home.Changed} {
			i.sides[n] = side{process: p, intents: map[string]bool{}, runs: map[string]bool{}, item: stage.Item{
				Repository: home.Name, RepositoryKey: home.Key, RepositoryID: home.ID, Issue: number, Process: p,
			}}
		}
		r.items[key] = i
		r.Total.Held = max(r.Total.Held, len(r.items))
	}
	return i
}

// An outcome is what an input came to on one side.
type outcome struct{ started, ended, reason string }

func (o outcome) String() string {
	var all []string
	for _, part := range []string{o.ended, o.started, o.reason} {
		if part != "" {
			all = append(all, part)
		}
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

func ended(state, cause string) string {
	if cause != "" {
		return "run ends: " + state + " (" + cause + ")"
	}
	return "run ends: " + state
}

// late is how long after its time a timer may come: a tick, and the one after it.
const late = 10 * time.Minute

// side plays an input by one process, and before it what time has brought.
func (r *Replay) side(i *item, n int, in stage.Input, now time.Time) (out outcome, err error) {
	s := &i.sides[n]
	needs := in.Needs(i.home.Key, s.item.Issue)
	if w, ok := in.(stage.Wanted); ok {
		needs.Run = w.RunID // who never ran wanted nothing
	}
	if run := s.item.Run; needs.Run != "" && (run == nil || run.ID != needs.Run) {
		return outcome{}, nil
	}
	if run := s.item.Run; run != nil && run.State.HoldsPod() && !run.Deadline.IsZero() && now.Sub(run.Deadline) > late {
		due := stage.DeadlineDue{RunDeadline: events.RunDeadline{RunRef: s.item.Ref()}}
		if out, err = s.decide(due, false, run.Deadline); err != nil {
			return out, err
		}
	}
	if run := s.item.Run; n == changed && needs.Sender.Login != "" && run != nil && run.State.Active() && !i.sides[inForce].runs[run.ID] {
		s.end(stage.Failed, noRecord, now)
	}
	if s.item.Project, err = r.Project(i.home.Key, needs.Sender); err != nil {
		return out, err
	}
	if said, ok := in.(stage.Reported); ok {
		s.report = &said.AgentReported
	}
	if s.item.Report = nil; needs.Report && s.report != nil && s.report.RunID == needs.Run {
		s.item.Report = s.report
	}
	s.item.Rest(needs)
	if needs.Lately {
		s.item.Lately = stage.Lately{Runs: r.lately(i, n, now)}
	}
	next, err := s.decide(in, s.intents[needs.Intent], now)
	out.started, out.reason = next.started, next.reason
	if next.ended != "" {
		out.ended = next.ended
	}
	if run := s.item.Run; next.started != "" {
		s.runs[run.ID], s.intents[run.Intent] = true, true
		r.runs[run.ID] = i
		asked := r.askedIn(i.home.Key)
		asked[n] = append(asked[n], now)
		if n == changed {
			r.Total.Changed++
		}
	}
	for _, p := range s.item.Pulls {
		if pull := events.WorkItem(i.home.Key, p.Number); r.pulls[pull] != i {
			r.pulls[pull] = i
			i.pulls = append(i.pulls, pull)
		}
	}
	return out, err
}

// askedIn is when runs were requested in a repository.
func (r *Replay) askedIn(repository string) *[2][]time.Time {
	asked := r.asked[repository]
	if asked == nil {
		asked = &[2][]time.Time{}
		r.asked[repository] = asked
	}
	return asked
}

// lately counts the runs that the side's rule of storms looks at, and forgets those before.
func (r *Replay) lately(i *item, n int, now time.Time) int {
	asked := r.askedIn(i.home.Key)
	since := now.Add(-i.sides[n].process.Storm.Within)
	asked[n] = slices.DeleteFunc(asked[n], func(at time.Time) bool { return !at.After(since) })
	return len(asked[n])
}

// decide is stage.Decide, with what it came to.
func (s *side) decide(in stage.Input, known bool, now time.Time) (outcome, error) {
	s.item.IntentKnown = known
	after, d, err := stage.Decide(s.item, in, now)
	if err != nil {
		if _, refused := events.AsRejected(err); refused {
			return outcome{}, nil // as it was then
		}
		return outcome{}, err
	}
	var out outcome
	if run := after.Run; run != nil {
		switch {
		case s.item.Run == nil || s.item.Run.ID != run.ID:
			out.started = fmt.Sprintf("starts %s (role %s, %s, reasoning %s)", s.process.LabelOf(run.Stage, run.Kind), run.Role, run.Model, run.Reasoning)
		case run.State.Final() && s.item.Run.State.Active():
			out.ended = ended(string(run.State), run.Reason)
		}
	}
	for _, a := range d.Audit {
		if strings.HasSuffix(a.Action, ".ignored") {
			out.reason = "starts nothing (" + a.Reason + ")"
		} else if a.Action == "label.held" {
			out.reason = "is held (" + a.Reason + ")"
		}
	}
	s.item = after
	return out, nil
}

// compare keeps a difference between the sides.
func (r *Replay) compare(i *item, e event.Event, now time.Time, what string, out [2]outcome) {
	if out[inForce].started+out[inForce].reason != "" {
		r.Total.Asked++
	}
	if out[inForce] == out[changed] {
		return
	}
	if len(i.issue.Differences) == listed {
		i.issue.More++
		return
	}
	i.issue.Differences = append(i.issue.Differences, Difference{
		At: now.UTC(), Event: e.ID(), What: what, Was: out[inForce].String(), Is: out[changed].String(), Follows: len(i.issue.Differences) > 0,
	})
}

// isOver reports whether nothing that came before matters any more: no run was ever started or is active, and the issue
// is closed or nobody has asked for anything.
func (i *item) isOver() bool {
	return !slices.ContainsFunc(i.sides[:], func(s side) bool {
		it := &s.item
		return it.Run != nil && it.Run.State.Active() && it.Run.Reason != noRecord || !it.Closed && (it.Run != nil || !it.ActedAt.IsZero() || it.Talk.On)
	})
}

// leave tells of an item, if its sides differ, and forgets it.
func (r *Replay) leave(i *item) error {
	for id := range i.sides[inForce].runs {
		i.unsure = i.unsure || !i.recorded[id]
	}
	for n := range i.sides {
		s := &i.sides[n]
		for id := range s.runs {
			delete(r.runs, id)
		}
	}
	for _, pull := range i.pulls {
		if r.pulls[pull] == i {
			delete(r.pulls, pull)
		}
	}
	delete(r.items, i.key)
	i.issue.Labels, i.issue.ChangedLabels = i.sides[inForce].item.Projection(), i.sides[changed].item.Projection()
	switch {
	case i.unsure:
		r.leftOut(i.issue.Key)
	case len(i.issue.Differences) > 0 || !slices.Equal(i.issue.Labels, i.issue.ChangedLabels):
		r.Total.Issues++
		return r.Differs(i.issue)
	}
	return nil
}

// textless leaves out the issue's text, which decides nothing here and takes the most memory and time.
func textless(in stage.Input) stage.Input {
	switch in := in.(type) {
	case stage.Labeled:
		in.Issue.Title, in.Issue.Body = "", ""
		return in
	case stage.Edited:
		in.Issue.Title, in.Issue.Body = "", ""
		return in
	case stage.Reviewed:
		in.Body = ""
		return in
	case stage.Reported:
		in.Summary = plain.Cut(strings.TrimSpace(in.Summary), 4) // a turn of a discussion must have said something
		return in
	case stage.Commented:
		in.Body = plain.Cut(in.Body, 100) // it may be a command
		return in
	}
	return in
}

// what says what happened, for people.
func what(e event.Event, in [2]stage.Input) string {
	one := in[inForce]
	if one == nil {
		one = in[changed]
	}
	switch in := one.(type) {
	case stage.Labeled:
		return fmt.Sprintf("label %s by %s", in.Label, in.Sender.Login)
	case stage.Reviewed:
		return fmt.Sprintf("review: %s by %s", in.State, in.Sender.Login)
	case stage.Edited:
		return fmt.Sprintf("issue %s by %s", in.Action, in.Sender.Login)
	case stage.PullRequestChanged:
		return fmt.Sprintf("pull request %s by %s", in.Action, in.Sender.Login)
	case stage.Commented:
		return fmt.Sprintf("comment %s by %s", in.Action, in.Sender.Login)
	case stage.Wanted:
		return fmt.Sprintf("label %s, approved by %s", in.Label, in.By.Login)
	}
	return strings.TrimPrefix(e.Type(), events.Prefix)
}
