package flow_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
)

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
			if day, ok := strings.CutPrefix(word, "day="); ok {
				s.Budgets = &budget.Policy{Day: budget.Limit{Dollars: dollars(w, day)}}
				continue
			}
			if model, ok := strings.CutPrefix(word, "fallback="); ok {
				s.Fallback = map[string]string{"gpt-5.4": model}
				continue
			}
			n, err := strconv.Atoi(strings.TrimPrefix(word, "parallel="))
			w.check(err)
			s.Parallel = n
		}
		w.settings[f[2]] = s
	case "process":
		w.process(f[1], f[2])
	case "storm":
		w.storm(f)
	case "member":
		w.roles[f[1]] = access.Role(f[2])
	case "label", "unlabel", "edit", "review", "pull", "comment":
		w.onGitHub(f)
	case "command":
		w.command(f)
	case "observed":
		w.observe(f)
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
		if i := slices.IndexFunc(d.By, func(word string) bool { return strings.HasPrefix(word, "option=") }); i >= 0 {
			option, err := strconv.Atoi(strings.TrimPrefix(d.By[i], "option="))
			w.check(err)
			d.Option, d.By = option, slices.Delete(slices.Clone(d.By), i, i+1)
		}
		for _, who := range d.By {
			if !strings.HasPrefix(who, "http:") {
				d.People = append(d.People, events.GitHubAccount{Login: who})
			}
		}
		w.happen(d)
	case "spent":
		run, _ := w.ofRun(f[1])
		more := budget.Amount{MicroUSD: int64(dollars(w, f[2]) * 1e6)}
		run.Spent, w.net[run.Project] = run.Spent.Plus(more), w.net[run.Project].Plus(more)
	case "short":
		w.short(f)
	case "warned":
		_, ref := w.ofRun(f[1])
		w.happen(events.BudgetWarned{RunRef: ref, Scope: f[2], Percent: 80, Line: "80 % of the budget is used: $4.00 of $5.00"})
	case "limited":
		run, ref := w.ofRun(f[1])
		wait, err := time.ParseDuration(f[2])
		w.check(err)
		l := events.LLMLimited{RunRef: ref, Attempt: run.Attempt, Model: run.Model, Until: w.now.Add(wait), Reason: f[3], Message: "Wait."}
		l.Fallback = run.Grant.Fallback
		w.paused[run.Model], run.Limited = l.Until, &l
		if !slices.Contains(f[4:], "unheard") {
			w.happen(l)
		}
	case "executed":
		_, ref := w.ofRun(f[1])
		t := events.ToolExecuted{RunRef: ref, CallID: w.request(ref, f[2]).ID, Result: "What came of it."}
		if len(f) > 3 {
			t.Reason = f[3]
		}
		w.happen(t)
	case "lookup":
		w.lookup(f)
	case "files":
		w.filesOf(f)
	case "exit":
		w.exit(f)
	case "check":
		w.checkEnds(f)
	case "rights":
		run, _ := w.ofRun(f[1])
		role := run.Process.Role(run.Role)
		fmt.Fprintf(&w.out, "  %s, %d at a time, writes %s, kubernetes %s, tools %s\n", run.Role, role.Parallel, strings.Join(run.Grant.Write, " "), cmp.Or(role.Kubernetes, "none"), strings.Join(run.Grant.Tools, " "))
	case "reviewed":
		_, ref := w.ofRun(f[1])
		asked := w.reviews[ref.RunID]
		r := events.GitHubReviewed{RunRef: ref, PullRequest: asked.PullRequest, Head: asked.Head, ReviewID: 7, URL: "https://github.com/r", OnLines: 2, InSummary: 1}
		if len(f) > 2 {
			r = events.GitHubReviewed{RunRef: ref, PullRequest: asked.PullRequest, Head: asked.Head, Reason: f[2], Message: "What GitHub said."}
		}
		w.happen(r)
	case "report":
		run, ref := w.ofRun(f[1])
		r := events.AgentReported{RunRef: ref, Attempt: run.Attempt, Outcome: f[2], Summary: "Summary.", ThreadID: "thread-1"}
		switch {
		case run.Kind == events.KindDiscussion:
			if r.Summary = "What the agent says."; f[2] != "succeeded" {
				r.Summary, r.Reason = "What went wrong.", f[3]
			}
		case f[2] == "succeeded":
			pull := w.place(f[1]).of(w.branch(f[1]), run.Base)
			if len(f) > 3 {
				r.Summary += "\n\n## Why it is done this way\n\n`a.go:3` Rounding up loses no money."
			}
			r.PullRequest, r.HeadSHA = pull.Number, pull.Head.SHA
		default:
			r.Reason = f[3]
		}
		if old := w.reports[r.RunID]; old == nil || old.Attempt < r.Attempt {
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

// command is console's word.
func (w *world) command(f []string) {
	words, options := split(f[5:])
	place := w.place(f[1])
	c := events.CommandRequested{Repository: place.repository, Issue: place.issue.Number, Command: events.Command(f[2]), By: events.GitHubAccount{Login: f[3]}, At: w.now, Seen: options["seen"]}
	if len(words) > 0 {
		c.Label, c.Text = words[0], strings.Join(words[1:], " ")
	}
	if c.Command == events.CommandCancel {
		run, _ := w.ofRun(f[1])
		c.RunID = run.ID
	}
	w.happenOnce(f[4], c)
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

// ask is agent-gateway's word: what was asked is stored, and an event reports it.
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

// short is llm-caller's word: a budget of the run is used up, and people are asked to extend it.
func (w *world) short(f []string) {
	run, ref := w.ofRun(f[1])
	i := slices.IndexFunc(run.Bounds, func(b budget.Bound) bool { return string(b.Scope) == f[2] })
	if i < 0 {
		w.t.Fatalf("%s is under no budget of its %s: %+v", f[1], f[2], run.Bounds)
	}
	b := run.Bounds[i]
	r, err := budget.Ask(budget.Asking{RunRef: ref, Stage: run.Stage, Role: run.Role, Before: len(run.Asks)}, budget.Account{Bound: b, Period: b.Period(w.now), Spent: w.net[run.Project]}, budget.Dollars)
	w.check(err)
	r.At = w.now
	w.asked[ref.RunID] = append(w.asked[ref.RunID], r)
	w.happen(r)
}

func dollars(w *world, word string) float64 {
	n, err := strconv.ParseFloat(word, 64)
	w.check(err)
	return n
}

// request is what the run has asked under that title; one that it has not if there is none.
func (w *world) request(run events.RunRef, title string) events.ApprovalRequested {
	for _, r := range slices.Backward(w.asked[run.RunID]) {
		if r.Title == title || r.Action == title {
			return r
		}
	}
	return events.ApprovalRequested{RunRef: run, ID: "never-asked"}
}

// lookup is github-caller's answer.
func (w *world) lookup(f []string) {
	run, ref := w.ofRun(f[1])
	l := events.GitHubLookedUp{RunRef: ref, Attempt: run.Attempt, Path: "services.yaml", Ref: "main", Files: found(w.lookups[ref.RunID])}
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

// found are the files of a lookup, all of them there.
func found(asked events.GitHubLookupRequested) (files []events.FoundFile) {
	for _, path := range asked.Files {
		files = append(files, events.FoundFile{Path: path, In: append(asked.In, asked.Head)[0], SHA: "beef", Size: 7})
	}
	return files
}

// filesOf is github-caller's answer about files.
func (w *world) filesOf(f []string) {
	_, ref := w.ofRun(f[1])
	asked := w.lookups[ref.RunID]
	l := w.shown(asked)
	l.Files = found(asked)
	l.From = append(slices.Clone(asked.In), asked.Head)[0]
	for _, word := range f[2:] {
		path, fault, faulty := strings.Cut(strings.TrimPrefix(word, "-"), "=")
		at := slices.IndexFunc(l.Files, func(f events.FoundFile) bool { return strings.HasSuffix(f.Path, path) })
		switch {
		case path == "*":
			for i := range l.Files {
				l.Files[i] = events.FoundFile{Path: l.Files[i].Path}
			}
		case path == "from":
			l.From = fault
			for i := range l.Files {
				l.Files[i].In = fault
			}
		case path == "says":
			l.Files[0].Says = fault
		case path == "outside":
			l.Outside = append(l.Outside, fault)
		case path == "unreadable":
			l.Reason, l.Message = fault, "What GitHub said."
		case at < 0:
			w.t.Fatalf("%s was not asked for", path)
		case faulty && strings.HasPrefix(fault, "codexk8s/"):
			l.Files[at].In = fault
		case faulty:
			l.Files[at].Faults = []string{fault}
		default:
			l.Files[at] = events.FoundFile{Path: l.Files[at].Path}
		}
	}
	w.happen(l)
}

// branch is where the item's newest run works.
func (w *world) branch(item string) string {
	run, ref := w.ofRun(item)
	return cmp.Or(run.Grant.Branch, stageless(ref.Issue))
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
