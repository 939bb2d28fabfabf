package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/test/local/stack"
)

// storyTime is how long the story may take once everything runs. Building takes as long as the machine needs.
const storyTime = 5 * time.Minute

// A story is played on a platform, and gives what shows how it ended.
type story struct {
	what    string         // that took the time
	budgets *budget.Policy // of the project; nil = none of its own
	play    func(s *stack.Stack, ctx context.Context, say func(string, ...any)) (show func(io.Writer) error, err error)
}

var stories = map[string]story{
	"":            {"from the label to the approved pull request", nil, one((*stack.Stack).Play)},
	"approval":    {"from the label to the pull request", nil, one((*stack.Stack).PlayApproval)},
	"budget":      {"from the label to the pull request", &stack.DemoBudget, one((*stack.Stack).PlayBudget)},
	"idea-to-ops": {"from the idea to its operation", nil, idea},
}

// one is a story of one pull request.
func one(play func(*stack.Stack, context.Context, func(string, ...any)) (stack.End, error)) func(*stack.Stack, context.Context, func(string, ...any)) (func(io.Writer) error, error) {
	return func(s *stack.Stack, ctx context.Context, say func(string, ...any)) (func(io.Writer) error, error) {
		end, err := play(s, ctx, say)
		return func(w io.Writer) error { printEnd(w, end); return nil }, err
	}
}

// runDemo plays the story on a platform of its own and prints how it ended.
func runDemo(ctx context.Context, story string) error {
	told, ok := stories[story]
	if !ok {
		return fmt.Errorf("there is no story %q: STORY=approval, STORY=budget, STORY=idea-to-ops, or none", story)
	}
	codex, err := stack.FindCodex()
	if err != nil {
		return err
	}
	if err := installMissing(ctx, os.Stdout, ""); err != nil {
		return err
	}
	trace := stack.NewTrace(os.Stdout)
	defer trace.Close()
	trace.Say("building the functions and starting the platform")
	started := sayItTakesTime(os.Stdout)
	defer started()
	s, err := stack.Start(ctx, stack.Options{Codex: codex, OnDelivery: trace.Delivery, Budgets: told.budgets})
	started()
	if err != nil {
		if errors.Is(context.Cause(ctx), errInterrupted) {
			return errInterrupted
		}
		return err
	}
	defer s.Stop()
	ready := trace.Elapsed()
	trace.Say("ready; agents run %s", s.Agents())
	ctx, cancel := context.WithTimeoutCause(ctx, storyTime, fmt.Errorf("the %s of the demonstration are over", storyTime))
	defer cancel()
	show, err := told.play(s, ctx, trace.Say)
	took := trace.Elapsed()
	trace.Close()
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return errInterrupted
	}
	if err != nil {
		s.WriteTails(os.Stdout, 15)
		return err
	}
	if err := show(os.Stdout); err != nil {
		return err
	}
	fmt.Printf("\nDone in %.1f s: %.1f s to build and start, %.1f s %s.\n",
		took.Seconds(), ready.Seconds(), (took - ready).Seconds(), told.what)
	return nil
}

func printEnd(w io.Writer, e stack.End) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("\nPull request #%d  %s  (%s → %s, %d commits, +%d −%d in %d files)", e.Pull.Number, e.Pull.Title, e.Pull.Pull.Head,
		e.Pull.Pull.Base, e.Pull.Pull.Commits, e.Pull.Pull.Additions, e.Pull.Pull.Deletions, e.Pull.Pull.ChangedFiles)
	p("%s", indent(beginning(e.Diff)))
	p("Labels  issue: %s   pull request: %s", strings.Join(e.Issue.Labels, ", "), strings.Join(e.Pull.Labels, ", "))
	for _, c := range e.Comments {
		p("Comment of %s\n%s", c.User, indent(c.Body))
	}
	for i, r := range e.Runs {
		p("Run %d  %s  %s, %s with %s, session %s", i+1, r.ID, r.State, r.Engine, r.Model, r.ThreadID)
	}
	p("Model   %d calls, %d tokens in (%d cached), %d out, $%.4f", e.Usage.Calls, e.Usage.Input, e.Usage.Cached, e.Usage.Output, e.Usage.Cost)
}

// beginning is as much of a diff as is worth a look.
func beginning(diff string) string {
	const most = 40
	lines := strings.Split(diff, "\n")
	if len(lines) <= most {
		return diff
	}
	return strings.Join(lines[:most], "\n") + fmt.Sprintf("\n… and %d more lines", len(lines)-most)
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
