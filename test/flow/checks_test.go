package flow_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// exit is what GitHub has of what runs leave, besides files.
type exit struct {
	checks []events.Check // that the repository requires
	tip    string         // commit that the branch is at, for the next look; "" = the one that was reported
	apart  bool           // what is reported next does not descend from the base
	silent bool           // the next look has no answer by itself
}

func (w *world) exitOf(repo string) *exit {
	repo, _, _ = strings.Cut(strings.ToLower(repo), "#")
	if w.exits[repo] == nil {
		w.exits[repo] = &exit{}
	}
	return w.exits[repo]
}

// exit sets what the next look at what a run has left will show.
func (w *world) exit(f []string) {
	x := w.exitOf(f[1])
	for _, word := range f[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "tip":
			x.tip = value
		case "apart":
			x.apart = true
		case "silent":
			x.silent = true
		default:
			x.check(name, events.CheckState(value))
		}
	}
}

func (x *exit) check(name string, state events.CheckState) {
	for i := range x.checks {
		if x.checks[i].Name == name {
			x.checks[i].State = state
			return
		}
	}
	x.checks = append(x.checks, events.Check{Name: name, State: state})
}

// shown is the part of github-caller's answer about what a run has left that is not about files.
func (w *world) shown(asked events.GitHubLookupRequested) (l events.GitHubLookedUp) {
	l = events.GitHubLookedUp{RunRef: asked.RunRef, Attempt: asked.Attempt, Path: asked.Path, Ref: asked.Ref, Head: asked.Head}
	if asked.Head == "" {
		return l
	}
	x := w.exitOf(asked.Repository)
	l.Tip, l.Apart = asked.Head, x.apart
	if x.tip != "" {
		l.Tip = x.tip
	}
	x.tip, x.apart = "", false
	l.Checks = append(l.Checks, x.checks...)
	return l
}

// looked answers at once about what a run has left whose stage makes no files.
func (w *world) looked(asked events.GitHubLookupRequested) {
	x := w.exitOf(asked.Repository)
	if asked.Head != "" && len(asked.Files) == 0 && !x.silent {
		w.happen(w.shown(asked))
	}
	x.silent = false
}

// checkEnds has a check come to an end, or begin, at the commit of the newest pull request.
func (w *world) checkEnds(f []string) {
	w.exitOf(f[1]).check(f[2], events.CheckState(f[3]))
	repo, _, _ := strings.Cut(f[1], "#")
	at := w.place(f[1]).pull("")
	_, options := split(f[4:])
	if sha := options["sha"]; sha != "" {
		at.Head.SHA = sha
	}
	status, action := "completed", "completed"
	if f[3] == string(events.CheckPending) {
		status, action = "in_progress", "created"
	}
	name, hook := "check_run", map[string]any{"action": action, "repository": repository{repo, "main"}, "sender": sender("ci[bot]")}
	switch options["as"] {
	case "status":
		name = "status"
		hook = map[string]any{"sha": at.Head.SHA, "context": f[2], "state": map[string]string{"pending": "pending", "passed": "success", "failed": "failure"}[f[3]],
			"branches": []any{map[string]any{"name": at.Head.Ref}}, "repository": repository{repo, "main"}, "sender": sender("ci[bot]")}
	case "suite":
		name = "check_suite"
		hook["check_suite"] = map[string]any{"head_sha": at.Head.SHA, "head_branch": at.Head.Ref, "status": status}
	default:
		hook["check_run"] = map[string]any{"name": f[2], "head_sha": at.Head.SHA, "status": status, "check_suite": map[string]any{"head_branch": at.Head.Ref}}
	}
	data, err := json.Marshal(hook)
	w.check(err)
	w.deliveries++
	d, err := webhook.Classify(name, fmt.Sprintf("delivery-%d", w.deliveries), data)
	w.check(err)
	w.hear(d.CloudEvent(data, w.now))
}
