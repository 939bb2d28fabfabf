package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
)

// promptInput puts the assignment into the terms of package prompt. dir is the checkout.
func promptInput(a *agentapi.Assignment, dir string) (prompt.Input, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return prompt.Input{}, fmt.Errorf("making a nonce: %w", err)
	}
	in := prompt.Input{
		Facts: facts(a, dir), Language: a.GetLanguage(), Nonce: hex.EncodeToString(nonce), DropHidden: a.GetHiddenText() == project.DropHidden,
		Issue: prompt.Issue{Title: a.GetIssueTitle(), Labels: a.GetIssueLabels(), Body: a.GetIssueBody()}, Review: reviewOf(a.GetReview()),
	}
	for _, t := range a.GetTalk() {
		in.Talk = append(in.Talk, prompt.Remark{Author: t.GetAuthor(), Body: t.GetBody()})
	}
	for _, w := range a.GetWordings() {
		in.Own = append(in.Own, prompt.Own{Source: w.GetSource(), Version: w.GetVersion(), Parts: w.GetParts()})
	}
	for _, d := range a.GetDecided() {
		in.Decisions = append(in.Decisions, prompt.Decision{
			Request: d.GetRequestId(), Asked: d.GetAsked(), Arguments: d.GetArguments(), Outcome: d.GetOutcome(), By: d.GetBy(), Answer: d.GetAnswer(),
		})
	}
	return in, nil
}

func facts(a *agentapi.Assignment, dir string) prompt.Facts {
	f := prompt.Facts{
		Run: a.GetRunId(), Project: a.GetProject(), Namespace: a.GetNamespace(), Repository: a.GetRepository(), BaseBranch: a.GetBaseBranch(), Branch: a.GetBranch(),
		Number: int(a.GetIssueNumber()), URL: a.GetIssueUrl(), PullRequest: int(a.GetPullRequest()), Stage: a.GetStage(), Kind: kindOf(a), Role: a.GetRole(), Mode: a.GetMode(),
		WriteScope: a.GetWriteScope(), Services: services(os.Environ()), Learning: a.GetLearning(), Instructions: a.GetInstructions(),
		Artefacts: artefacts(a.GetArtefacts()), Documents: artefacts(a.GetDocuments()),
	}
	if slices.Equal(f.WriteScope, []string{"**"}) {
		f.WriteScope = nil // any path
	}
	f.Documents = slices.DeleteFunc(f.Documents, func(d prompt.Artefact) bool {
		_, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(d.Path)))
		return err != nil
	})
	for _, t := range a.GetTools() {
		f.Tools = append(f.Tools, prompt.Tool{Name: t.GetName(), Free: t.GetFree()})
	}
	return f
}

func artefacts(all []*agentapi.Artefact) (out []prompt.Artefact) {
	for _, a := range all {
		out = append(out, prompt.Artefact{Name: a.GetName(), Path: a.GetPath(), About: a.GetAbout()})
	}
	return out
}

func reviewOf(r *agentapi.Review) *prompt.Review {
	if r == nil {
		return nil
	}
	review := &prompt.Review{Author: r.GetAuthor(), Body: r.GetBody()}
	for _, c := range r.GetComments() {
		review.Comments = append(review.Comments, prompt.Comment{
			Path: c.GetPath(), Line: int(c.GetLine()), Author: c.GetAuthor(), Body: c.GetBody(), DiffHunk: c.GetDiffHunk(),
		})
	}
	return review
}

// unwritten is why there is no prompt. A part that somebody has of their own and that can't be used ends the run: they
// have to correct it, and nothing takes its place meanwhile.
func unwritten(err error) error {
	if part := new(prompt.PartError); errors.As(err, &part) {
		return &outcome.Failure{Reason: reason.PromptInvalid, Summary: fmt.Sprintf(
			"The agent's task could not be written: %v. Correct it (a project's parts stand in the projects file, an installation's in the ConfigMap codexk8s-prompts), then set the label again.", err)}
	}
	return fmt.Errorf("writing the prompt: %w", err)
}

// tellPrompt has the platform keep what the task was written from.
func (r *runner) tellPrompt(ctx context.Context, u prompt.Used) error {
	_, err := r.gateway.Heartbeat(ctx, &agentapi.HeartbeatRequest{Phase: phaseEngine, Prompt: &agentapi.Prompt{
		Template: u.Template, Language: u.Language, Source: u.Source, Version: u.Version, Hash: u.Hash,
	}})
	if err != nil {
		return fmt.Errorf("telling what the prompt was written from: %w", err)
	}
	return nil
}
