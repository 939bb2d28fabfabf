package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/prompt"
)

// think has the engine do the task, from where an earlier pod or run left it.
func (r *runner) think(ctx context.Context, stop context.CancelCauseFunc, a *agentapi.Assignment, repo *checkout.Repository) (*finished, error) {
	stored, err := r.gateway.LoadSnapshot(ctx, &agentapi.LoadSnapshotRequest{})
	if err != nil {
		return nil, fmt.Errorf("load the session: %w", err)
	}
	begin, err := r.begin(ctx, a, repo, stored)
	if err != nil {
		return nil, err
	}
	if begin.done != nil {
		r.log.say("An earlier pod of this run has finished the work; it is restored.")
		return begin.done, nil
	}
	r.enter(phaseEngine)
	k := &keeper{gateway: r.gateway, repo: repo, engine: begin.engine, name: a.GetEngine(), task: begin.task, head: repo.Head,
		log: r.log, version: stored.GetVersion()}
	saving, stopSaving := context.WithCancel(ctx)
	defer stopSaving()
	kept := make(chan struct{})
	go func() { defer close(kept); k.run(saving, r.env.SnapshotInterval, stop) }()

	summary, err := r.drive(ctx, a, begin)
	summary = plain.Text(harmless(r.redact.clean(summary + hiddenNote(begin.hidden)))) // it goes into the commit, the pull request and the report
	stopSaving()
	<-kept // a save under way would share the index with the check that follows, and could overwrite the last one
	if endErr := endAgent(repo); endErr != nil {
		return nil, endErr // what they do to the files could not be told from the agent's work
	}
	// Also when the pod is being ended: this is what the next one goes on from.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTimeout)
	defer cancel()
	if saveErr := k.save(last, err == nil, summary); saveErr != nil {
		if errors.Is(saveErr, errSuperseded) {
			return nil, saveErr
		}
		r.log.say("The session could not be saved: %v", saveErr)
	}
	if err != nil {
		return nil, err
	}
	c, err := begin.engine.conversation()
	if err != nil {
		return nil, fmt.Errorf("name the session: %w", err)
	}
	return &finished{summary: summary, threadID: c.ThreadID, lost: begin.lost}, nil
}

// lastSaveTimeout is within the 30 s that Kubernetes gives a pod to end.
const lastSaveTimeout = 15 * time.Second

// beginning is where the engine starts.
type beginning struct {
	engine  engine
	message string // to say first
	opening string // to say in a new conversation, should the old one not resume
	resumed bool   // the conversation is an earlier one
	input   prompt.Input
	task    string    // see snapshot.Task
	done    *finished // set when there is nothing left to do for an engine
	lost    []string  // see finished.lost
	hidden  []string  // see prompt.Prompt
}

// begin works out how to start. Interrupted: this run's own session is continued, its files restored. Revise: the
// session of the earlier run is continued with the review. Else, or when the session cannot be used: a new one.
func (r *runner) begin(ctx context.Context, a *agentapi.Assignment, repo *checkout.Repository, stored *agentapi.LoadSnapshotResponse) (*beginning, error) {
	in, err := promptInput(a)
	if err != nil {
		return nil, err
	}
	opening, err := prompt.Render(in)
	if err != nil {
		return nil, fmt.Errorf("write the prompt: %w", err)
	}
	b := &beginning{message: opening.Text, opening: opening.Text, input: in, task: in.Nonce}
	if b.engine, err = r.newEngine(a); err != nil {
		return nil, err
	}
	r.log.say("Prompt template %s (%.12s), engine %s, model %s.", opening.Template, opening.Hash, a.GetEngine(), a.GetModel())
	if len(opening.Hidden) > 0 {
		b.hidden = opening.Hidden
		r.log.say("Issue or review hold text that people do not see on GitHub; it is marked for the agent: %s", strings.Join(b.hidden, " | "))
	}
	interrupted := stored.GetRunId() == a.GetRunId()
	if stored.GetVersion() == 0 || !interrupted && !a.GetRevise() {
		return b, nil
	}
	s, err := decodeSnapshot(stored.GetData())
	if err != nil || s.Engine != a.GetEngine() {
		r.log.say("The stored session cannot be used, beginning a new one: %v", err)
		return b, nil
	}
	restored := false
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
	if err := b.engine.resume(conversation{ThreadID: s.ThreadID, Name: s.Name, Data: s.Memory}); err != nil {
		r.log.say("The stored session cannot be used, beginning a new one: %v", err)
		return b, nil
	}
	b.resumed = true
	r.log.say("Resuming session %s (files restored: %v).", s.ThreadID, restored)
	// A pod that was lost before the engine had the run's task in its memory leaves it to be told now.
	if interrupted && bytes.Contains(s.Memory, []byte(s.Task)) {
		b.task = s.Task
		message, err := prompt.Continue(in, !slices.Contains(b.lost, allFiles))
		if err != nil {
			return nil, fmt.Errorf("write the prompt: %w", err)
		}
		b.message = message.Text
		if len(b.lost) > 0 && !slices.Contains(b.lost, allFiles) {
			b.message += "\n\nLost are: " + strings.Join(b.lost, ", ") + "\n"
		}
	}
	return b, nil
}

// restore brings back the changes that an earlier pod of this run had made, on the commit that it had begun with: when
// the branch has moved since, that is settled by the push. It returns what could not be brought back.
func (r *runner) restore(ctx context.Context, repo *checkout.Repository, s snapshot) ([]string, error) {
	before := repo.Head
	err := repo.Restore(ctx, s.Head, checkout.Kept{Commit: s.Work, Pack: s.Pack})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		r.log.say("The changes of the earlier pod are left behind: %v", err)
		return []string{allFiles}, repo.Move(ctx, before)
	case len(s.Lost) > 0:
		r.log.say("The earlier pod could not keep all of its changes; lost are: %s", strings.Join(s.Lost, ", "))
	}
	return s.Lost, nil
}

func (r *runner) newEngine(a *agentapi.Assignment) (engine, error) {
	switch a.GetEngine() {
	case "codex":
		e, err := newCodex(r.env, r.line, a.GetModel(), a.GetReasoning(), r.log)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return nil, &failure{reasonEngine, err.Error()}
		}
		if err != nil {
			return nil, err
		}
		e.searches = slices.Contains(a.GetHostedTools(), "web_search")
		return e, nil
	case "builtin":
		return newBuiltin(r.env, r.line, a.GetModel(), a.GetReasoning(), r.log)
	}
	return nil, &failure{reasonAssignment, fmt.Sprintf("There is no engine %q; use codex or builtin.", a.GetEngine())}
}

// promptInput puts the assignment into the terms of package prompt.
func promptInput(a *agentapi.Assignment) (prompt.Input, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return prompt.Input{}, fmt.Errorf("make a nonce: %w", err)
	}
	in := prompt.Input{
		Repository: a.GetRepository(), BaseBranch: a.GetBaseBranch(), Branch: a.GetBranch(),
		Stage: a.GetStage(), Role: a.GetRole(), Revise: a.GetRevise(), PullRequest: int(a.GetPullRequest()),
		Issue:      prompt.Issue{Number: int(a.GetIssueNumber()), Title: a.GetIssueTitle(), Body: a.GetIssueBody(), URL: a.GetIssueUrl()},
		WriteScope: a.GetWriteScope(), Instructions: a.GetInstructions(), Nonce: hex.EncodeToString(nonce), Services: services(os.Environ()),
	}
	if review := a.GetReview(); review != nil {
		in.Review = &prompt.Review{Author: review.GetAuthor(), Body: review.GetBody()}
		for _, c := range review.GetComments() {
			in.Review.Comments = append(in.Review.Comments, prompt.Comment{
				Path: c.GetPath(), Line: int(c.GetLine()), Author: c.GetAuthor(), Body: c.GetBody(), DiffHunk: c.GetDiffHunk(),
			})
		}
	}
	return in, nil
}
