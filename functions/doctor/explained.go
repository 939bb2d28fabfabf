package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// text is the explanation for people.
func (x explanation) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", cmp.Or(strings.TrimSpace(x.Issue+"  "+oneLine(x.Title)), x.Issue))
	switch {
	case x.Project == "":
		b.WriteString("Its repository belongs to no project, so nothing starts here. An owner adds it to one in the projects file.\n")
	default:
		fmt.Fprintf(&b, "Project %s, by the process %s.\n", x.Project, x.Process)
	}
	if x.Title == "" && len(x.Acts) == 0 {
		b.WriteString("The platform has not heard of it yet: look at \"last webhook\" in make doctor, and at the deliveries of the webhook on GitHub.\n")
	}
	b.WriteString("\nNow\n")
	b.WriteString(x.Run.text(x.At))
	if h := x.Held; h != nil && !h.Skipped {
		fmt.Fprintf(&b, "  %s is held: more was asked for in the repository than the process's storm allows; %s asked for it %s.\n    → %s\n",
			h.Label, h.By, ago(h.At, x.At), reason.Advice(reason.Ignored, reason.Storm))
	}
	for _, w := range x.Waiting {
		b.WriteString(outstanding(w, x.At))
	}
	if len(x.Labels) > 0 {
		b.WriteString("\nIf somebody with the right did it now\n")
	}
	b.WriteString(prospects(x.Labels))
	if len(x.Acts) > 0 {
		b.WriteString("\nWhat happened, the newest first\n")
	}
	for _, a := range x.Acts {
		b.WriteString(a.text())
	}
	if x.Older != 0 {
		fmt.Fprintf(&b, "\nThere is more: make explain ISSUE=%s BEFORE=%d\n", x.Issue, x.Older)
	}
	return b.String()
}

func (p *present) text(now time.Time) string {
	if p == nil {
		return "  No run was ever requested.\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  Run %s of %s is %s", p.ID, p.Label, strings.ReplaceAll(string(p.State), "_", " "))
	if p.Reason != "" {
		fmt.Fprintf(&b, " (%s)", p.Reason)
	}
	fmt.Fprintf(&b, "; %s asked for it %s.\n", p.By, ago(p.Since, now))
	if p.Process.Hash != "" {
		fmt.Fprintf(&b, "  It goes by the process %s.\n", p.Process)
	}
	switch {
	case p.Position > 0:
		fmt.Fprintf(&b, "  It is number %d of those that wait for a place in the project: %s.\n", p.Position, full[p.Behind])
	case p.State.Queues():
		b.WriteString("  A place is free: it starts with the next event of its project.\n")
	case p.State.HoldsPod() && !p.Deadline.IsZero():
		fmt.Fprintf(&b, "  It is stopped at %s, if it is not done by then.\n", stamp(p.Deadline))
	}
	for _, a := range p.Asks {
		what := "It waits for people: request"
		if a.Decided {
			what = "It waits for the platform to do what was approved: request"
		}
		fmt.Fprintf(&b, "  %s %s, %s (%s).\n", what, a.Request, oneLine(a.Title), a.Kind)
	}
	if p.State == stage.Waiting && len(p.Asks) == 0 {
		b.WriteString("  It has its answers and waits for its container to end.\n")
	}
	if p.Follows != "" {
		fmt.Fprintf(&b, "  %s takes effect when it has succeeded.\n", p.Follows)
	}
	return b.String()
}

// full says why a run waits for a place.
var full = map[string]string{
	"project_full": "the project has as many runs as its settings allow (parallel)",
	"role_full":    "its role has as many as the process allows (parallel)",
}

func outstanding(w store.Outstanding, now time.Time) string {
	what := kind(w.Type)
	switch {
	case w.Died:
		return fmt.Sprintf("  %s failed for good at %s %s: %s\n    → make dead-letters, and make replay when the cause is gone; event %s\n",
			what, w.Function, ago(w.Due, now), brief(w.Error), w.ID)
	case w.Timer && w.Due.After(now):
		return fmt.Sprintf("  Timer: %s at %s, for %s.\n", what, stamp(w.Due), w.Function)
	}
	return fmt.Sprintf("  %s came %s and is not handled by %s yet; it is sent %s. Event %s\n", what, ago(w.Stored, now), w.Function, stamp(w.Due), w.ID)
}

// prospects are what has an effect, one a line, and then what has none, by reason.
func prospects(all []prospect) string {
	var b strings.Builder
	var reasons []string
	idle := map[string][]prospect{}
	for _, p := range all {
		if !strings.Contains(p.Act, ":") {
			p.Act = "review: " + strings.ReplaceAll(p.Act, "_", " ")
		}
		if p.Does != "nothing" {
			fmt.Fprintf(&b, "  %-24s %s %s\n", p.Act, p.Does, brief(p.Why))
			continue
		}
		if idle[p.Reason] == nil {
			reasons = append(reasons, p.Reason)
		}
		idle[p.Reason] = append(idle[p.Reason], p)
	}
	for _, reason := range reasons {
		var acts []string
		for _, p := range idle[reason] {
			acts = append(acts, p.Act)
		}
		fmt.Fprintf(&b, "  nothing (%s): %s\n      %s\n", reason, brief(idle[reason][0].Why), strings.Join(acts, ", "))
	}
	return b.String()
}

// indent is below the time of an act.
const indent = "                         "

func (a act) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s  %s", stamp(a.At), strings.NewReplacer(".", " ", "_", " ").Replace(a.Action))
	if a.Reason != "" {
		fmt.Fprintf(&b, " (%s)", a.Reason)
	}
	if who := strings.TrimPrefix(a.Actor, "github:"); who != "platform" {
		fmt.Fprintf(&b, " by %s", who)
	}
	b.WriteString("\n")
	if a.Detail != "" {
		fmt.Fprintf(&b, "%s%s\n", indent, brief(a.Detail))
	}
	if a.Advice != "" {
		fmt.Fprintf(&b, "%s→ %s\n", indent, a.Advice)
	}
	var from []string
	switch {
	case a.EventType != "":
		from = append(from, fmt.Sprintf("%s of %s, event %s", kind(a.EventType), a.EventTime.UTC().Format(time.TimeOnly), a.EventID))
	case a.EventID != "" && a.EventID != a.Run: // a call that is in no log of events
		from = append(from, "call "+a.EventID)
	}
	if a.Run != "" {
		from = append(from, "run "+a.Run)
	}
	if a.Process.Hash != "" {
		from = append(from, "process "+a.Process.String())
	}
	if len(from) > 0 {
		fmt.Fprintf(&b, "%s%s\n", indent, strings.Join(from, "; "))
	}
	return b.String()
}

// kind is an event's type as people say it: github.issues, agent.reported.
func kind(eventType string) string {
	return strings.TrimPrefix(strings.TrimPrefix(eventType, events.Prefix), "dev.knative.source.")
}

func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) }

// brief is a text in one line, and no longer than people read.
func brief(text string) string {
	const most = 300
	if runes := []rune(oneLine(text)); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return oneLine(text)
}
