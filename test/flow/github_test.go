package flow_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// A place is an issue and the pull request of its branch, as GitHub shows them.
type place struct {
	labels []string
	closed bool
	pull   stage.PullRequest
}

func (w *world) place(key string) *place {
	if w.github[key] == nil {
		_, number, _ := strings.Cut(key, "#")
		issue, err := strconv.Atoi(number)
		w.check(err)
		w.github[key] = &place{pull: stage.PullRequest{Number: 100 + issue, HeadSHA: "c0ffee1", Base: "main", State: "open"}}
	}
	return w.github[key]
}

func (p *place) issue(at time.Time) stage.Issue {
	return stage.Issue{Title: "Title", BaseBranch: "main", Labels: p.labels, Closed: p.closed, UpdatedAt: at}
}

// onGitHub plays what somebody does on GitHub, and its webhook. What comes late tells
// of how things were, and changes nothing.
func (w *world) onGitHub(f []string) {
	words, options := split(f[4:])
	item, who, at := w.item(f[1], f[3]), sender(f[3]), w.at(options["at"])
	now := w.place(item.Key())
	here := *now
	intent, in := "", any(nil)
	switch f[0] {
	case "label":
		intent = stage.LabelIntent(item.Repository, item.Issue, f[2], at, "")
		in = here.label(f[2], words, options["on"], at, who, intent)
	case "unlabel":
		here.labels = slices.DeleteFunc(slices.Clone(here.labels), func(l string) bool { return l == f[2] })
		in = stage.Edited{Issue: here.issue(at), Action: "unlabeled", Sender: who}
	case "edit":
		here.closed = f[2] == "closed" || f[2] != "reopened" && here.closed
		in = stage.Edited{Issue: here.issue(at), Action: f[2], Sender: who}
	case "pull":
		here.change(f[2], words, options)
		here.pull.UpdatedAt = at
		in = stage.PullRequestChanged{Pull: here.pull, Action: f[2], Sender: who}
	case "review":
		id, err := strconv.ParseInt(words[0], 10, 64)
		w.check(err)
		intent = stage.ReviewIntent(item.Repository, item.Issue, id)
		review := stage.Review{ID: id, Author: who.Login, Body: "Please."}
		in = stage.Reviewed{Review: review, State: f[2], CommitSHA: here.pull.HeadSHA, At: at, Pull: here.pull, Sender: who, Intent: intent}
		if sha := options["sha"]; sha != "" {
			r := in.(stage.Reviewed)
			r.CommitSHA = sha
			in = r
		}
	}
	if options["at"] == "" {
		*now = here
	}
	w.decide(item, w.newest(item), intent, in)
}

// split tells words from options, name=value.
func split(all []string) (words []string, options map[string]string) {
	options = map[string]string{}
	for _, word := range all {
		if name, value, ok := strings.Cut(word, "="); ok {
			options[name] = value
		} else {
			words = append(words, word)
		}
	}
	return words, options
}

// at is the time of day, today; "" is now.
func (w *world) at(clock string) time.Time {
	if clock == "" {
		return w.now
	}
	of, err := time.Parse(time.TimeOnly, clock)
	w.check(err)
	return w.now.Truncate(24 * time.Hour).Add(of.Sub(of.Truncate(24 * time.Hour)))
}

func (p *place) label(label string, others []string, on string, at time.Time, who stage.Person, intent string) stage.Labeled {
	in := stage.Labeled{Label: label, At: at, Sender: who, Intent: intent}
	switch on {
	case "pr":
		p.pull.Labels, p.pull.UpdatedAt = append([]string{label}, others...), at
		pull := p.pull
		in.Pull = &pull
	case "other":
		in.Stray = true
	default:
		p.labels = append([]string{label}, others...)
		in.Issue = p.issue(at)
	}
	return in
}

// change does to the pull request what the action says.
func (p *place) change(action string, words []string, options map[string]string) {
	pull := &p.pull
	switch action {
	case "closed":
		pull.State = "closed"
	case "opened", "reopened":
		pull.State = "open"
	}
	draft := action == "converted_to_draft" || slices.Contains(words, "draft")
	pull.Draft, pull.Merged = &draft, slices.Contains(words, "merged")
	if n, err := strconv.Atoi(options["number"]); err == nil {
		pull.Number = n
	}
	if options["sha"] != "" {
		pull.HeadSHA = options["sha"]
	}
	if options["base"] != "" {
		pull.Base = options["base"]
	}
}

// show sets and removes the labels that the platform asks for, and lets GitHub tell of it.
func (w *world) show(c events.GitHubChangeRequested) {
	key := events.WorkItem(c.Repository, c.Issue)
	here, bot := w.place(key), sender("codexk8s[bot]")
	if changed := relabel(here.labels, c.On, c.Off); !slices.Equal(changed, here.labels) {
		here.labels = changed
		item := w.item(key, bot.Login)
		w.decide(item, w.newest(item), "", stage.Edited{Issue: here.issue(w.now), Action: "unlabeled", Sender: bot})
	}
	if changed := relabel(here.pull.Labels, c.PullOn, c.PullOff); !slices.Equal(changed, here.pull.Labels) {
		here.pull.Labels, here.pull.UpdatedAt = changed, w.now
		item := w.item(key, bot.Login)
		w.decide(item, w.newest(item), "", stage.PullRequestChanged{Pull: here.pull, Action: "unlabeled", Sender: bot})
	}
}

func relabel(labels, on, off []string) []string {
	has := func(labels []string, label string) bool {
		return slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(l, label) })
	}
	out := slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return has(off, l) })
	for _, l := range on {
		if !has(out, l) {
			out = append(out, l)
		}
	}
	return out
}

func short(p events.Payload) string { return strings.TrimPrefix(p.EventType(), events.Prefix) }

// detail is what a reader of the specification wants to see of an event.
func detail(p events.Payload) string {
	var b strings.Builder
	c, ok := p.(events.GitHubChangeRequested)
	if !ok {
		switch p := p.(type) {
		case events.RunFinished:
			return " " + strings.TrimSpace(p.State+" "+p.Reason)
		case events.GitHubLookupRequested:
			return " " + p.Path + " at " + p.Ref
		case events.AgentRequested:
			for _, s := range p.Services {
				b.WriteString(" " + s.Name + "=" + s.Image)
			}
		}
		return b.String()
	}
	for _, l := range c.On {
		b.WriteString(" +" + l)
	}
	for _, l := range c.Off {
		b.WriteString(" -" + l)
	}
	if c.PullRequest != 0 && !(slices.Equal(c.On, c.PullOn) && slices.Equal(c.Off, c.PullOff)) {
		fmt.Fprintf(&b, " #%d", c.PullRequest)
		for _, l := range c.PullOn {
			b.WriteString(" +" + l)
		}
		for _, l := range c.PullOff {
			b.WriteString(" -" + l)
		}
	}
	if c.Status != nil {
		b.WriteString(" status=" + c.Status.State)
	}
	fmt.Fprintf(&b, " v%d", c.Version)
	lines := strings.Split(strings.TrimSpace(c.Comment), "\n")
	for i, line := range lines { // the note, the state, and what is next
		if i == 0 || strings.HasPrefix(line, "### ") || i == len(lines)-1 && c.Version > 0 {
			fmt.Fprintf(&b, "\n        %s", line)
		}
	}
	return b.String()
}
