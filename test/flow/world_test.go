package flow_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// world is the platform's state in memory: what the store holds in Postgres.
type world struct {
	t        *testing.T
	p        *stage.Process
	now      time.Time
	projects map[string]string // repository → project
	settings map[string]stage.Settings
	roles    map[string]string
	items    map[string]*stage.Item
	runs     []*stage.Run
	intents  map[string]bool
	github   map[string]*place // what GitHub shows of each issue
	timers   []timer
	last     string
	out      strings.Builder
}

type timer struct {
	at time.Time
	p  events.Payload
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, p: stage.Default(), now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		projects: map[string]string{}, settings: map[string]stage.Settings{}, roles: map[string]string{},
		items: map[string]*stage.Item{}, intents: map[string]bool{}, github: map[string]*place{},
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
		var s stage.Settings
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
	case "member":
		w.roles[f[1]] = f[2]
	case "label", "unlabel", "edit", "review", "pull":
		w.onGitHub(f)
	case "started":
		item, ref := w.ofRun(f[1])
		w.about(item, events.AgentStarted{RunRef: ref, Namespace: item.Run.Namespace, Job: "agent", Attempt: w.attempt(f, 2)})
	case "finished":
		item, ref := w.ofRun(f[1])
		w.about(item, stage.JobEnded{RunID: ref.RunID, Attempt: w.attempt(f, 2)})
	case "failed":
		item, ref := w.ofRun(f[1])
		w.about(item, events.AgentFailed{RunRef: ref, Attempt: w.attempt(f, 3), Reason: f[2], Message: "What happened."})
	case "restart":
		item, _ := w.ofRun(f[1])
		item.Run.State, item.Run.Attempt = stage.Starting, item.Run.Attempt+1
		deadline, d := stage.Start(w.p, w.settings[item.Run.Project], stage.Place{Run: *item.Run, Repository: item.Repository, Issue: item.Issue, BaseBranch: item.BaseBranch}, w.now)
		item.Run.Deadline = deadline
		w.follow(d)
	case "lookup":
		w.lookup(f)
	case "report":
		item, ref := w.ofRun(f[1])
		r := events.AgentReported{RunRef: ref, Outcome: f[2], Summary: "Summary.", ThreadID: "thread-1"}
		if f[2] == "succeeded" {
			pull := w.place(item.Key()).pull
			r.PullRequest, r.HeadSHA = pull.Number, pull.HeadSHA
		} else {
			r.Reason = f[3]
		}
		w.about(item, r)
	case "advance":
		d, err := time.ParseDuration(f[1])
		w.check(err)
		w.advance(w.now.Add(d))
	default:
		w.t.Fatalf("unknown act %q", line)
	}
}

// lookup is github-caller's answer.
func (w *world) lookup(f []string) {
	item, ref := w.ofRun(f[1])
	l := events.GitHubLookedUp{RunRef: ref, Attempt: item.Run.Attempt, Path: "services.yaml", Ref: "main"}
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
	w.about(item, l)
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

func sender(login string) stage.Person {
	return stage.Person{Login: login, Bot: strings.HasSuffix(login, "[bot]")}
}

// item returns a copy of the work item as the sender's event would load it.
func (w *world) item(key, login string) stage.Item {
	repository, number, _ := strings.Cut(key, "#")
	issue, err := strconv.Atoi(number)
	w.check(err)
	item := stage.Item{Repository: repository, Issue: issue}
	if kept := w.items[item.Key()]; kept != nil {
		item = *kept
	}
	item.Run = nil
	if project, bound := w.projects[repository]; bound {
		item.Project = &stage.Project{ID: project, Settings: w.settings[project], SenderRole: access.Role(w.roles[login])}
	}
	return item
}

func (w *world) newest(item stage.Item) *stage.Run {
	for i := len(w.runs) - 1; i >= 0; i-- {
		if strings.HasPrefix(w.runs[i].Intent, "label "+item.Key()+" ") || strings.HasPrefix(w.runs[i].Intent, "review "+item.Key()+" ") {
			return w.runs[i]
		}
	}
	return nil
}

func (w *world) ofRun(key string) (stage.Item, events.RunRef) {
	item := w.item(key, "")
	item.Run = w.newest(item)
	if item.Run == nil {
		w.t.Fatalf("%s has no run", key)
	}
	return item, item.Ref()
}

func (w *world) about(item stage.Item, in any) { w.decide(item, item.Run, "", in) }

// decide is one step of stage-router, without its store.
func (w *world) decide(item stage.Item, run *stage.Run, intent string, in any) {
	item.Run, item.IntentKnown = run, intent != "" && w.intents[intent]
	next, d, err := stage.Decide(w.p, item, in, w.now)
	w.check(err)
	w.save(run, next)
	w.follow(d)
}

func (w *world) save(was *stage.Run, next stage.Item) {
	kept := next
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
	}
	seen := map[string]bool{}
	for _, r := range w.runs {
		key := strings.Fields(r.Intent)[1]
		if !r.State.Final() && seen[key] {
			w.t.Fatalf("two active runs of %s", key)
		}
		seen[key] = seen[key] || !r.State.Final()
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
		}
	}
}

func (w *world) admit(project string) {
	var places []stage.Place
	for _, r := range w.runs {
		if r.Project == project && !r.State.Final() {
			repository, number, _ := strings.Cut(strings.Fields(r.Intent)[1], "#")
			issue, err := strconv.Atoi(number)
			w.check(err)
			places = append(places, stage.Place{Run: *r, Repository: repository, Issue: issue, BaseBranch: "main"})
		}
	}
	for _, p := range stage.Admit(w.p, w.settings[project], places) {
		deadline, d := stage.Start(w.p, w.settings[project], p, w.now)
		for _, r := range w.runs {
			if r.ID == p.ID {
				r.State, r.Deadline = stage.Starting, deadline
			}
		}
		w.follow(d)
	}
	for _, r := range w.runs {
		if r.Project == project && r.State == stage.Requested {
			r.State = stage.Queued
			fmt.Fprintf(&w.out, "  audit platform run.queued no_free_place\n")
		}
	}
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
		case events.RunDeadline:
			item, _ := w.ofRun(p.Correlation())
			w.about(item, p)
		case events.RunCheck:
			item, _ := w.ofRun(p.Correlation())
			w.about(item, p)
		}
	}
}
