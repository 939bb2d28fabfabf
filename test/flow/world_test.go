package flow_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/budget"
	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
)

// world is the platform's state in memory: what the store holds in Postgres.
type world struct {
	t         *testing.T
	files     map[string]string         // of the script
	processes map[string]*stage.Process // of a project, "" the installation's
	now       time.Time
	projects  map[string]string // repository → project
	settings  map[string]project.Settings
	roles     map[string]access.Role
	items     map[string]*stage.Item
	reports   map[string]*events.AgentReported        // of a run
	asked     map[string][]events.ApprovalRequested   // by a run
	lookups   map[string]events.GitHubLookupRequested // the last one of a run
	reviews   map[string]events.GitHubReviewRequested // the last one of a run
	runs      []*stage.Run
	net       map[string]budget.Amount // what a project has spent today, without what people have added
	reserved  map[string]budget.Amount // up to where a run's spending is reserved
	paused    map[string]time.Time     // until when a model is not asked
	of        map[string]events.RunRef // of a run
	intents   map[string]bool
	exits     map[string]*exit  // of each repository
	github    map[string]*place // what GitHub shows of each issue
	timers    []timer

	deliveries int
	last       string
	out        strings.Builder
}

type timer struct {
	at time.Time
	p  events.Payload
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, processes: map[string]*stage.Process{"": stage.Default()}, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		projects: map[string]string{}, settings: map[string]project.Settings{}, roles: map[string]access.Role{},
		items: map[string]*stage.Item{}, intents: map[string]bool{}, of: map[string]events.RunRef{}, reports: map[string]*events.AgentReported{}, asked: map[string][]events.ApprovalRequested{},
		paused: map[string]time.Time{}, net: map[string]budget.Amount{}, reserved: map[string]budget.Amount{},
		lookups: map[string]events.GitHubLookupRequested{}, reviews: map[string]events.GitHubReviewRequested{}, github: map[string]*place{}, exits: map[string]*exit{},
	}
}

func (w *world) processOf(repository string) *stage.Process {
	if p := w.processes[w.projects[strings.ToLower(repository)]]; p != nil {
		return p
	}
	return w.processes[""]
}

func (w *world) check(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) newest(item string) *stage.Run {
	return w.newestOf(item, func(*stage.Run) bool { return true })
}

func (w *world) newestOf(item string, of func(*stage.Run) bool) *stage.Run {
	for i := len(w.runs) - 1; i >= 0; i-- {
		if ref := w.of[w.runs[i].ID]; events.WorkItem(ref.Repository, ref.Issue) == item && of(w.runs[i]) {
			return w.runs[i]
		}
	}
	return nil
}

func (w *world) runOf(id string) *stage.Run {
	if i := slices.IndexFunc(w.runs, func(r *stage.Run) bool { return r.ID == id }); i >= 0 {
		return w.runs[i]
	}
	return nil
}

// said is what was said in the item's discussion.
func (w *world) said(item string) (all []stage.Remark) {
	for _, r := range w.runs {
		if ref := w.of[r.ID]; events.WorkItem(ref.Repository, ref.Issue) == item && r.Kind == events.KindDiscussion && r.State == stage.Succeeded {
			all = append(append(all, r.Talk...), stage.Remark{Body: r.Summary, At: r.FinishedAt})
		}
	}
	return all
}

func (w *world) ofRun(item string) (*stage.Run, events.RunRef) {
	run := w.newest(item)
	if run == nil {
		w.t.Fatalf("%s has no run", item)
	}
	return run, w.of[run.ID]
}

// happen delivers an event of ours.
func (w *world) happen(p events.Payload) {
	w.deliveries++
	w.happenOnce(strconv.Itoa(w.deliveries), p)
}

// happenOnce delivers an event of ours whose cause is what the key names: the same again is the same event.
func (w *world) happenOnce(key string, p events.Payload) {
	cause := event.New()
	cause.SetID(key)
	e, err := events.New(cause, "test", 0, events.Now(p))
	w.check(err)
	w.hear(e)
}

// hear is one step of stage-router, with the world for a store.
func (w *world) hear(e event.Event) {
	about, in, err := stage.Hear(e)
	w.check(err)
	if about.Issue == 0 {
		about.Issue = w.issueOf(about)
	}
	if about.Issue == 0 {
		in, about.Issue = stage.Stray(w.processOf(about.Repository), in), about.Pull
	}
	if in == nil {
		return
	}
	item := w.load(about, in.Needs(strings.ToLower(about.Repository), about.Issue))
	was := item.Run
	next, d, err := stage.Decide(item, in, w.now)
	w.check(err)
	w.save(was, next)
	w.follow(d)
}

func (w *world) issueOf(about stage.Subject) int {
	for _, item := range w.items {
		if strings.EqualFold(item.Repository, about.Repository) && item.PullOf(about.Pull).Number != 0 {
			return item.Issue
		}
	}
	return 0
}

// load is the item with what is needed for a decision.
func (w *world) load(about stage.Subject, needs stage.Needs) stage.Item {
	item := stage.Item{Repository: about.Repository, RepositoryKey: strings.ToLower(about.Repository), Issue: about.Issue}
	if kept := w.items[item.Key()]; kept != nil {
		item = *kept
	}
	if project, bound := w.projects[item.RepositoryKey]; bound {
		item.Project = &stage.Project{ID: project, Settings: w.settings[project], SenderRole: w.roles[needs.Sender.Login]}
	}
	item.Process, item.Run, item.Report, item.Asked, item.IntentKnown = w.processOf(about.Repository), w.newest(item.Key()), nil, nil, w.intents[needs.Intent]
	if run := w.runOf(needs.Run); run != nil {
		item.Run = run
	}
	if item.Worked = nil; item.Run != nil && item.Run.Kind == events.KindDiscussion {
		item.Worked = w.newestOf(item.Key(), func(r *stage.Run) bool { return r.Kind != events.KindDiscussion })
	}
	item.Rest(needs)
	if needs.Report {
		item.Report = w.reports[needs.Run]
	}
	if item.Lately = (stage.Lately{}); needs.Lately || needs.Held {
		item.Lately = w.lately(&item)
	}
	if !needs.Artefacts {
		item.Artefacts = nil
	}
	if item.Said = nil; needs.Said {
		item.Said = w.said(item.Key())
	}
	if needs.Asked {
		item.Asked = w.asked[needs.Run]
	}
	return item
}

func (w *world) save(was *stage.Run, next stage.Item) {
	kept := next
	if old := w.items[next.Key()]; old != nil && kept.Artefacts == nil {
		kept.Artefacts = old.Artefacts
	}
	w.items[next.Key()] = &kept
	if e := next.Ended; e != nil && e.ID != next.Run.ID {
		*w.runOf(e.ID) = *e
	}
	switch {
	case next.Run == nil:
	case was != nil && was.ID == next.Run.ID:
		*was = *next.Run
	default:
		if w.intents[next.Run.Intent] {
			w.t.Fatalf("two runs for the intent %q", next.Run.Intent)
		}
		w.intents[next.Run.Intent] = true
		w.runs = append(w.runs, next.Run)
		w.of[next.Run.ID] = next.Ref()
	}
	seen := map[string]bool{}
	for _, r := range w.runs {
		key := w.of[r.ID].Correlation()
		if r.State.Active() && seen[key] {
			w.t.Fatalf("two active runs of %s", key)
		}
		seen[key] = seen[key] || r.State.Active()
	}
}

// follow prints a decision and delivers what the deciders themselves hear.
func (w *world) follow(d events.Decision) {
	for _, r := range d.Audit {
		fmt.Fprintln(&w.out, strings.TrimRight(fmt.Sprintf("  audit %s %s %s", r.Actor, r.Action, r.Reason), " "))
	}
	var heard []events.Payload
	for _, e := range d.Emit {
		if !e.NotBefore.IsZero() {
			w.timers = append(w.timers, timer{e.NotBefore, e.Payload})
			fmt.Fprintf(&w.out, "  timer %s %s\n", e.NotBefore.Sub(w.now), short(e.Payload))
			continue
		}
		fmt.Fprintf(&w.out, "  emit  %s%s\n", short(e.Payload), detail(e.Payload))
		heard = append(heard, e.Payload)
	}
	for _, p := range heard {
		switch p := p.(type) {
		case events.GitHubChangeRequested:
			w.show(p)
		case events.RunRequested:
			w.admit(p.Project)
		case events.RunFinished:
			w.admit(p.Project)
		case events.RunWaiting:
			w.admit(p.Project)
		case events.RunResumed:
			for _, x := range p.Extended {
				fmt.Fprintf(&w.out, "  extended %s %s by %d\n", x.Kind, x.Period, x.MicroUSD)
				if x.Kind == "project" {
					w.net[p.Project] = w.net[p.Project].Minus(budget.Amount{MicroUSD: x.MicroUSD})
				}
			}
			w.admit(p.Project)
		case events.LabelApproved:
			w.happen(p)
		case events.RunQueued:
			w.happen(p)
		case events.HoldRequested:
			w.happen(p)
		case events.GitHubLookupRequested:
			w.lookups[p.RunID] = p
			w.looked(p)
		case events.GitHubReviewRequested:
			w.reviews[p.RunID] = p
		}
	}
}

func (w *world) placeOf(r *stage.Run) stage.Place {
	ref, until := w.of[r.ID], w.paused[r.Model]
	if r.Grant.Fallback != "" && w.paused[r.Grant.Fallback].Before(until) {
		until = w.paused[r.Grant.Fallback]
	}
	return stage.Place{Run: *r, Repository: ref.Repository, Issue: ref.Issue, BaseBranch: "main", Money: stage.Money{
		WorkItem: ref.Correlation(), ModelUntil: until, Reserved: w.reserved[r.ID], Net: map[budget.Scope]budget.Amount{budget.Day: w.net[r.Project]},
	}}
}

// admit is stage-router's step over a project.
func (w *world) admit(project string) {
	var places []stage.Place
	for _, r := range w.runs {
		if r.Project == project && r.State.Active() {
			places = append(places, w.placeOf(r))
		}
	}
	var d events.Decision
	for _, a := range stage.Admit(w.settings[project], places, w.now) {
		for _, r := range w.runs {
			if r.ID == a.ID {
				r.State, r.Deadline, r.PausedAt, r.JobOver, r.Position, r.Bounds = a.State, a.Deadline, a.PausedAt, a.JobOver, a.Run.Position, a.Bounds
				w.reserved[r.ID] = a.Reserved
			}
		}
		d.Emit, d.Audit = append(d.Emit, a.Emit...), append(d.Audit, a.Audit...)
	}
	w.follow(d)
}

// advance lets time pass and delivers the timers that come due, in order.
func (w *world) advance(to time.Time) {
	for {
		next := -1
		for i, t := range w.timers {
			if !t.at.After(to) && (next < 0 || t.at.Before(w.timers[next].at)) {
				next = i
			}
		}
		if next < 0 {
			w.now = to
			return
		}
		t := w.timers[next]
		w.timers = append(w.timers[:next], w.timers[next+1:]...)
		w.now = t.at
		switch p := t.p.(type) {
		case events.EnvironmentExpired: // agent-launcher hears that
		case events.RunResumed:
			w.admit(p.Project)
		default:
			w.happen(p)
		}
	}
}
