package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/redact"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/tool"
)

// Bounds of what an agent is told of its project's past in one answer.
const (
	maxPage  = 50      // runs of a list
	maxLog   = 40      // last lines of a run
	maxShown = 8 << 10 // bytes of one text
	maxLogs  = 300     // bytes of one line
)

// past tells of runs of the agent's own project, whatever it asks for. What people and agents wrote there may hold a
// secret, which is taken out.
func (h *handler) past(ctx context.Context, run store.AgentRun, q tool.PastQuery) (string, error) {
	if id := cmp.Or(q.Run, q.Before); id != "" {
		s, err := h.db.RunStory(ctx, run.Project, id, maxLog)
		if errors.Is(err, store.ErrNotFound) {
			return "", &tool.Error{Err: fmt.Errorf("project %s has no run %s: the list has the ids", run.Project, id)}
		}
		if err != nil || q.Run != "" {
			return story(s), err
		}
	}
	runs, err := h.db.ProjectRuns(ctx, run.Project, q.Before, maxPage)
	if err != nil {
		return "", err
	}
	return new(redact.Secrets).Clean(list(runs)), nil
}

// list has a line for each run, the newest first, and a sum for each stage.
func list(runs []store.ProjectRun) string {
	if len(runs) == 0 {
		return "There are no runs before."
	}
	var b strings.Builder
	for _, r := range runs {
		fmt.Fprintf(&b, "%s %s %s#%d %s\n", r.ID, r.CreatedAt.UTC().Format("2006-01-02 15:04"), r.Repository, r.Issue, line(r))
	}
	if len(runs) == maxPage {
		fmt.Fprintf(&b, "Older ones: before %s\n", runs[len(runs)-1].ID)
	}
	b.WriteString("\nThese runs by stage and kind:\n")
	for _, s := range sums(runs) {
		fmt.Fprintf(&b, "%s\n", s)
	}
	return b.String()
}

// line says what a run was and what it took.
func line(r store.ProjectRun) string {
	how := string(r.State)
	if r.Reason != "" {
		how += " (" + r.Reason + ")"
	}
	return fmt.Sprintf("%s %s as %s: %s; %s", r.Stage, r.Kind, r.Role, how, took(1, r.Took, r.Calls, r.Input, r.Output, r.CostMicroUSD))
}

// took is what n runs took on the average.
func took(n int, d time.Duration, calls, input, output, cost int64) string {
	of := int64(n)
	return fmt.Sprintf("%.1f min, %d model calls, %d tokens in, %d out, $%.2f", d.Minutes()/float64(n), calls/of, input/of, output/of, float64(cost)/1e6/float64(n))
}

// sums are lines, one for each stage and kind, the most frequent first.
func sums(runs []store.ProjectRun) (lines []string) {
	type key struct {
		stage string
		kind  events.Kind
	}
	all, reasons := map[key]*store.ProjectRun{}, map[key]map[string]int{}
	counts := map[key]int{}
	var keys []key
	for _, r := range runs {
		k := key{r.Stage, r.Kind}
		if all[k] == nil {
			all[k], reasons[k], keys = &store.ProjectRun{}, map[string]int{}, append(keys, k)
		}
		counts[k]++
		reasons[k][strings.TrimSpace(string(r.State)+" "+r.Reason)]++
		sum := all[k]
		sum.Took, sum.Calls, sum.Input, sum.Output, sum.CostMicroUSD = sum.Took+r.Took, sum.Calls+r.Calls, sum.Input+r.Input, sum.Output+r.Output, sum.CostMicroUSD+r.CostMicroUSD
	}
	slices.SortStableFunc(keys, func(a, b key) int { return cmp.Compare(counts[b], counts[a]) })
	for _, k := range keys {
		var ends []string
		for how, n := range reasons[k] {
			ends = append(ends, fmt.Sprintf("%d %s", n, how))
		}
		slices.Sort(ends)
		sum := all[k]
		lines = append(lines, fmt.Sprintf("%s %s: %d runs (%s); each %s", k.stage, k.kind, counts[k], strings.Join(ends, ", "),
			took(counts[k], sum.Took, sum.Calls, sum.Input, sum.Output, sum.CostMicroUSD)))
	}
	return lines
}

// story is one run in full. Of a text that is cut the secrets go first, because half of one is not known as such. What
// people don't see of it is marked, as in every prompt.
func story(s store.RunStory) string {
	var b strings.Builder
	say := func(what, text string) {
		text, _ = plain.SpellOut(strings.ReplaceAll(new(redact.Secrets).Clean(text), "\r\n", "\n"))
		if text = strings.TrimSpace(text); text != "" {
			fmt.Fprintf(&b, "\n%s:\n    %s\n", what, strings.ReplaceAll(plain.Cut(text, maxShown), "\n", "\n    "))
		}
	}
	fmt.Fprintf(&b, "%s of %s#%d, requested %s\n%s\n", s.ID, s.Repository, s.Issue, s.CreatedAt.UTC().Format(time.DateTime), line(s.ProjectRun))
	if s.Attempt > 0 {
		fmt.Fprintf(&b, "It had %d Jobs.\n", s.Attempt+1)
	}
	if s.Prompt != "" {
		fmt.Fprintf(&b, "Its task was written from %s.\n", s.Prompt)
	}
	say("The issue's title", s.Title)
	if s.Review != nil {
		say("The review that it answers, by "+s.Review.Author, prompt.Visible(s.Review.Body))
	}
	for _, r := range s.Talk {
		say("What was said before, by "+cmp.Or(r.By, "an agent"), prompt.Visible(r.Body))
	}
	for _, a := range s.Asks {
		say("It asked people", a.Title+"\n"+a.Told())
	}
	for _, c := range lastCalls(s.Calls) {
		say("The platform did for it", c.Told())
	}
	say("Why it ended so", s.Message)
	say("Its agent's last message", s.Summary)
	for i, line := range s.Log {
		s.Log[i] = plain.Cut(new(redact.Secrets).Clean(line), maxLogs)
	}
	say("The end of its log", strings.Join(s.Log, "\n"))
	return b.String()
}

func lastCalls(calls []stage.Call) []stage.Call { return calls[max(0, len(calls)-maxCalls):] }
