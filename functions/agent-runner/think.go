package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/functions/agent-runner/internal/engine"
	"codexk8s.dev/functions/agent-runner/internal/process"
	"codexk8s.dev/functions/agent-runner/internal/session"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/words"
)

// think has the engine do the task, from where an earlier pod or run left off.
func (r *runner) think(ctx context.Context, stop context.CancelCauseFunc, a *agentapi.Assignment, repo *checkout.Repository) (*finished, error) {
	stored, err := r.gateway.LoadSnapshot(ctx, &agentapi.LoadSnapshotRequest{})
	if err != nil {
		return nil, fmt.Errorf("loading the session: %w", err)
	}
	begin, err := r.begin(ctx, a, repo, stored)
	if err != nil {
		return nil, err
	}
	if begin.done != nil {
		r.log.Say("An earlier pod of this run has finished the work; it is restored.")
		return begin.done, nil
	}
	r.enter(phaseEngine)
	k := &session.Keeper{Gateway: r.gateway, Repo: repo, Engine: begin.engine, Log: r.log, Name: a.GetEngine(), Task: begin.task,
		Head: repo.Head, Version: stored.GetVersion()}
	saving, stopSaving := context.WithCancel(ctx)
	defer stopSaving()
	kept := make(chan struct{})
	go func() { defer close(kept); k.Run(saving, r.env.SnapshotInterval, stop) }()

	summary, err := r.drive(ctx, a, begin)
	if err == nil && !r.line.Waits() && kindOf(a).Writes() && a.GetReturned() == nil {
		summary, err = r.sendBack(ctx, a, begin, summary)
	}
	if err == nil && r.line.Waits() {
		stop(errWaits) // it asked, and did not wait
		err = errWaits
	}
	if kindOf(a) == events.KindReview {
		// Its end is a list of findings. github-caller makes them harmless, all but the code of suggestions.
		summary = plain.Text(r.secrets.Clean(hiddenNote(begin.hidden) + "\n\n" + summary))
	} else {
		summary = r.harmless(summary + hiddenNote(begin.hidden)) // it goes into the commit, the pull request and the report
	}
	summary = strings.TrimSpace(summary)
	stopSaving()
	<-kept // a save under way would share the index with the check that follows, and could overwrite the last one
	if endErr := process.EndAgent(repo.Dir, repo.Holds); endErr != nil {
		return nil, endErr // their changes to files would look like the agent's work
	}
	if renewErr := repo.Renew(); renewErr != nil {
		return nil, renewErr
	}
	// Also when the pod is being ended: the next one continues from this.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.Timeout)
	defer cancel()
	if saveErr := k.Save(last, err == nil, summary); saveErr != nil {
		if errors.Is(saveErr, session.ErrSuperseded) {
			return nil, saveErr
		}
		r.log.Say("The session could not be saved: %v", saveErr)
	}
	if err != nil {
		return nil, err
	}
	c, err := begin.engine.Conversation()
	if err != nil {
		return nil, fmt.Errorf("naming the session: %w", err)
	}
	return &finished{summary: summary, threadID: c.ThreadID, lost: begin.lost}, nil
}

// harmless is what an agent or an issue says, made fit for others.
func (r *runner) harmless(text string) string {
	return words.Harmless(r.secrets.Clean(text))
}

// goesOn reports whether a run of that kind continues the conversation of the run before.
func goesOn(kind events.Kind) bool { return kind == events.KindRevise || kind == events.KindDiscussion }

// beginning is where the engine starts.
type beginning struct {
	engine  engine.Engine
	message string // to say first
	opening string // to say in a new conversation, should the old one not resume
	resumed bool   // the conversation is an earlier one
	input   prompt.Input
	task    string    // see session.Snapshot
	done    *finished // set when there is nothing left to do for an engine
	lost    []string  // see finished.lost
	hidden  []string  // see prompt.Prompt
}

// begin works out how to start. Interrupted: continue this run's own session, with its files restored. Revise: continue
// the earlier run's session with the review. A turn of a discussion: with what people have written. Otherwise, or if
// the session cannot be used: begin a new one.
func (r *runner) begin(ctx context.Context, a *agentapi.Assignment, repo *checkout.Repository, stored *agentapi.LoadSnapshotResponse) (*beginning, error) {
	in, err := promptInput(a, repo.Dir)
	if err != nil {
		return nil, err
	}
	in.Pull = r.pull
	b := &beginning{task: in.Nonce}
	opening, err := b.open(in)
	if err != nil {
		return nil, err
	}
	if b.engine, err = r.newEngine(a); err != nil {
		return nil, err
	}
	r.log.Say("Prompt %s; engine %s, model %s.", opening.Used, a.GetEngine(), a.GetModel())
	if err := r.tellPrompt(ctx, opening.Used); err != nil {
		return nil, err
	}
	if len(opening.Hidden) > 0 {
		b.hidden = opening.Hidden
		r.log.Say("The issue or the review holds text that GitHub does not show; %s for the agent: %s", map[bool]string{true: "left out", false: "marked"}[in.DropHidden], strings.Join(b.hidden, " | "))
	}
	back, err := returned(a, in)
	if err != nil {
		return nil, err
	}
	b.message += back
	interrupted := stored.GetRunId() == a.GetRunId()
	if stored.GetVersion() == 0 || !interrupted && !goesOn(kindOf(a)) {
		return b, nil
	}
	s, err := session.Decode(stored.GetData())
	if err != nil || s.Engine != a.GetEngine() {
		r.log.Say("The stored session cannot be used, beginning a new one: %v", err)
		return b, nil
	}
	restored := false
	if back != "" && s.Head != repo.Head { // of the pod whose work came back: its files are on the branch
		if s.Forgotten {
			return b, nil
		}
		interrupted = false
	}
	if interrupted {
		if b.lost, err = r.restore(ctx, repo, s); err != nil {
			return nil, err
		}
		restored = len(b.lost) == 0
		if restored && s.Done {
			b.done = &finished{summary: s.Summary, threadID: s.ThreadID, notes: s.Notes}
			return b, nil
		}
	}
	if s.Forgotten {
		r.log.Say("The earlier conversation was too large to keep, beginning a new one (files restored: %v).", restored)
		if interrupted && !slices.Contains(b.lost, session.AllFiles) {
			in.Ended = "too large to keep"
			_, err = b.open(in)
			b.message += lost(b.lost)
		}
		return b, err
	}
	if err := b.engine.Resume(engine.Conversation{ThreadID: s.ThreadID, Name: s.Name, Data: s.Memory}); err != nil {
		r.log.Say("The stored session cannot be used, beginning a new one: %v", err)
		return b, nil
	}
	b.resumed = true
	if back != "" && !interrupted {
		b.message = back
	}
	r.log.Say("Resuming session %s (files restored: %v).", s.ThreadID, restored)
	// If the earlier pod was lost before the engine had the run's task in its memory, it is told now.
	if interrupted && bytes.Contains(s.Memory, []byte(s.Task)) {
		b.task = s.Task
		message, err := prompt.Continue(in, !slices.Contains(b.lost, session.AllFiles))
		if err != nil {
			return nil, unwritten(err)
		}
		in.Decisions = slices.DeleteFunc(slices.Clone(in.Decisions), func(d prompt.Decision) bool { return bytes.Contains(s.Memory, []byte(d.Mark())) })
		decided, err := prompt.Decided(in)
		if err != nil {
			return nil, unwritten(err)
		}
		b.message = message.Text + back + decided + lost(b.lost)
	}
	return b, nil
}

// returned tells the agent what the platform has found wanting on GitHub; "" if the work did not come back.
func returned(a *agentapi.Assignment, in prompt.Input) (string, error) {
	if len(a.GetReturned().GetFaults()) == 0 {
		return "", nil
	}
	in.Missing = a.GetReturned().GetFaults()
	p, err := prompt.Incomplete(in)
	if err != nil {
		return "", unwritten(err)
	}
	return "\n\n" + p.Text, nil
}

// open has the engine begin a new conversation with the task.
func (b *beginning) open(in prompt.Input) (prompt.Prompt, error) {
	opening, err := prompt.Render(in)
	if err != nil {
		return opening, unwritten(err)
	}
	b.input, b.message, b.opening = in, opening.Text, opening.Text
	return opening, nil
}

// lost tells the agent which of its changes are gone, if they are not all of them.
func lost(files []string) string {
	if len(files) == 0 || slices.Contains(files, session.AllFiles) {
		return ""
	}
	return "\n\nLost are: " + strings.Join(files, ", ") + "\n"
}

// restore brings back the changes that an earlier pod of this run made, on the commit that it began with: if the branch
// has moved since, the push deals with that. It returns what could not be brought back.
func (r *runner) restore(ctx context.Context, repo *checkout.Repository, s session.Snapshot) ([]string, error) {
	before := repo.Head
	err := repo.Restore(ctx, s.Head, checkout.Kept{Commit: s.Work, Pack: s.Pack})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		r.log.Say("The changes of the earlier pod are left behind: %v", err)
		return []string{session.AllFiles}, repo.Move(ctx, before)
	case len(s.Lost) > 0:
		r.log.Say("The earlier pod could not keep all of its changes; lost are: %s", strings.Join(s.Lost, ", "))
	}
	return s.Lost, nil
}

func (r *runner) newEngine(a *agentapi.Assignment) (engine.Engine, error) {
	return engine.New(a.GetEngine(), engine.Options{
		Line: r.line, Log: r.log, Dir: r.env.checkout(), Home: r.env.codexHome(), CodexBin: r.env.CodexBin,
		Model: a.GetModel(), Reasoning: a.GetReasoning(), Searches: slices.Contains(a.GetHostedTools(), "web_search"),
	})
}

// enginePause is shorter in tests.
var enginePause = engine.Pause

func (r *runner) drive(ctx context.Context, a *agentapi.Assignment, b *beginning) (string, error) {
	d := &engine.Driver{
		Engine: b.engine, Line: r.line, Log: r.log, RetryFor: r.env.RetryFor, Pause: enginePause,
		Opening: b.opening, Resumed: b.resumed, Input: b.input,
	}
	if a.GetDeadline().IsValid() {
		d.Deadline = a.GetDeadline().AsTime()
	}
	return d.Run(ctx, b.message)
}
