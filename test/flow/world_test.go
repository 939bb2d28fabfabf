package flow_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
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
	reports   map[string]*events.AgentReported      // of a run
	asked     map[string][]events.ApprovalRequested // by a run
	runs      []*stage.Run
	of        map[string]events.RunRef // of a run
	intents   map[string]bool
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
		items: map[string]*stage.Item{}, intents: map[string]bool{}, of: map[string]events.RunRef{}, reports: map[string]*events.AgentReported{}, asked: map[string][]events.ApprovalRequested{}, github: map[string]*place{},
	}
}

func (w *world) play(line string) {
	f := strings.Fields(line)
	if len(f) == 0 || strings.HasPrefix(line, "#") {
		return
	}
	if f[0] == "again" {
		w.play(w.last)
		return
	}
	w.last = line
	fmt.Fprintf(&w.out, "> %s\n", line)
	switch f[0] {
	case "bind":
		w.projects[f[1]] = f[2]
		var s project.Settings
		for _, word := range f[3:] {
			if word == stage.FullEnv {
				s.Modes = map[string]string{"dev": word}
				continue
			}
			n, err := strconv.Atoi(strings.TrimPrefix(word, "parallel="))
			w.check(err)
			s.Parallel = n
		}
		w.settings[f[2]] = s
	case "process":
		w.process(f[1], f[2])
	case "member":
		w.roles[f[1]] = access.Role(f[2])
	case "label", "unlabel", "edit", "review", "pull":
		w.onGitHub(f)
	case "started":
		run, ref := w.ofRun(f[1])
		w.happen(events.AgentStarted{RunRef: ref, Namespace: run.Namespace, Job: "agent", Attempt: w.attempt(f, 2)})
	case "delayed":
		_, ref := w.ofRun(f[1])
		w.happen(events.AgentDelayed{RunRef: ref, Attempt: w.attempt(f, 3), Reason: f[2], Message: "What it waits for."})
	case "finished":
		_, ref := w.ofRun(f[1])
		w.happen(events.AgentFinished{RunRef: ref, Attempt: w.attempt(f, 2)})
	case "failed":
		_, ref := w.ofRun(f[1])
		w.happen(events.AgentFailed{RunRef: ref, Attempt: w.attempt(f, 3), Reason: f[2], Message: "What happened."})
	case "restart":
		run, _ := w.ofRun(f[1])
		run.State, run.Attempt = stage.Starting, run.Attempt+1
		deadline, d := stage.Start(w.settings[run.Project], w.placeOf(run), w.now)
		run.Deadline = deadline
		w.follow(d)
	case "ask":
		w.ask(f)
	case "decided":
		_, ref := w.ofRun(f[1])
		r := w.request(ref, f[2])
		d := events.ApprovalDecided{RunRef: ref, RequestID: r.ID, Kind: r.Kind, Action: r.Action, Digest: r.Digest,
			Outcome: events.ApprovalState(f[3]), By: f[4:], At: w.now}
		for _, who := range d.By {
			if !strings.HasPrefix(who, "http:") {
				d.People = append(d.People, events.GitHubAccount{Login: who})
			}
		}
		w.happen(d)
	case "executed":
		_, ref := w.ofRun(f[1])
		t := events.ToolExecuted{RunRef: ref, CallID: w.request(ref, f[2]).ID, Result: "What came of it."}
		if len(f) > 3 {
			t.Reason = f[3]
		}
		w.happen(t)
	case "lookup":
		w.lookup(f)
	case "report":
		_, ref := w.ofRun(f[1])
		r := events.AgentReported{RunRef: ref, Outcome: f[2], Summary: "Summary.", ThreadID: "thread-1"}
		if f[2] == "succeeded" {
			pull := w.place(f[1]).pull
			r.PullRequest, r.HeadSHA = pull.Number, pull.Head.SHA
		} else {
			r.Reason = f[3]
		}
		if w.reports[r.RunID] == nil {
			w.reports[r.RunID] = &r
		}
		w.happen(r)
	case "advance":
		d, err := time.ParseDuration(f[1])
		w.check(err)
		w.advance(w.now.Add(d))
	default:
		w.t.Fatalf("unknown act %q", line)
	}
}

// process sets a project's own, that of the script's file; "-" takes it away.
func (w *world) process(project, file string) {
	delete(w.processes, project)
	if file == "-" {
		return
	}
	p, err := stage.Parse([]byte(w.files[file]))
	w.check(err)
	w.processes[project] = p
}

func (w *world) processOf(repository string) *stage.Process {
	if p := w.processes[w.projects[strings.ToLower(repository)]]; p != nil {
		return p
	}
	return w.processes[""]
}

// ask is agent-gateway's word: what was asked is stored, and an event tells of it.
func (w *world) ask(f []string) {
	_, ref := w.ofRun(f[1])
	action := "of:" + f[3]
	for _, word := range f[4:] {
		if strings.Contains(word, ":") {
			action = word
		}
	}
	r, err := approval.Seal(events.ApprovalRequested{
		RunRef: ref, Kind: events.ApprovalKind(f[2]), Action: action, Title: f[3], FreeText: f[2] == "question", At: w.now,
	})
	w.check(err)
	if !slices.ContainsFunc(w.asked[ref.RunID], func(a events.ApprovalRequested) bool { return a.ID == r.ID }) {
		w.asked[ref.RunID] = append(w.asked[ref.RunID], r)
	}
	if !slices.Contains(f[4:], "unheard") {
		w.happen(r)
	}
}

// request is what the run has asked under that title; one that it has not if there is none.
func (w *world) request(run events.RunRef, title string) events.ApprovalRequested {
	for _, r := range w.asked[run.RunID] {
		if r.Title == title {
			return r
		}
	}
	return events.ApprovalRequested{RunRef: run, ID: "never-asked"}
}

// lookup is github-caller's answer.
func (w *world) lookup(f []string) {
	run, ref := w.ofRun(f[1])
	l := events.GitHubLookedUp{RunRef: ref, Attempt: run.Attempt, Path: "services.yaml", Ref: "main"}
	switch f[2] {
	case "none":
	case "found":
		l.Found, l.SHA, l.Content = true, "c0ffee", "apiVersion: codexk8s.dev/v1\nservices:\n"
		for _, word := range f[3:] {
			name, image, service := strings.Cut(word, "=")
			if !service {
				l.Attempt = w.attempt([]string{word}, 0)
				break
			}
			l.Content += "  - {name: " + name + ", image: " + image + "}\n"
		}
	default:
		l.Reason, l.Message = f[2], "What GitHub said."
	}
	w.happen(l)
}

// attempt is which Job of the run an act is about, from its optional word at i that counts from 1.
func (w *world) attempt(f []string, i int) int {
	if len(f) <= i {
		return 0
	}
	n, err := strconv.Atoi(f[i])
	w.check(err)
	return n - 1
}

func (w *world) check(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) newest(item string) *stage.Run {
	for i := len(w.runs) - 1; i >= 0; i-- {
		if ref := w.of[w.runs[i].ID]; events.WorkItem(ref.Repository, ref.Issue) == item {
			return w.runs[i]
		}
	}
	return nil
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
	cause := event.New()
	cause.SetID(strconv.Itoa(w.deliveries))
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
		if strings.EqualFold(item.Repository, about.Repository) && item.PullRequest == about.Pull {
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
	if i := slices.IndexFunc(w.runs, func(r *stage.Run) bool { return r.ID == needs.Run }); i >= 0 {
		item.Run = w.runs[i]
	}
	if needs.Report {
		item.Report = w.reports[needs.Run]
	}
	if !needs.Artefacts {
		item.Artefacts = nil
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
			w.admit(p.Project)
		case events.LabelApproved:
			w.happen(p)
		}
	}
}

func (w *world) placeOf(r *stage.Run) stage.Place {
	ref := w.of[r.ID]
	return stage.Place{Run: *r, Repository: ref.Repository, Issue: ref.Issue, BaseBranch: "main"}
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
				r.State, r.Deadline, r.PausedAt, r.JobOver = a.State, a.Deadline, a.PausedAt, a.JobOver
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
		if _, elsewhere := t.p.(events.EnvironmentExpired); !elsewhere { // agent-launcher hears that
			w.happen(t.p)
		}
	}
}
