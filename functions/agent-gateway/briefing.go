package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/tool"
)

// house is what an installation has agents told, where a project doesn't say otherwise.
type house struct {
	language string
	learning bool
	prompts  prompt.Versioned
}

// brief adds to the assignment what its prompt is written by.
func (h *handler) brief(ctx context.Context, run store.AgentRun, a *agentapi.Assignment) error {
	b, err := h.db.Briefing(ctx, run)
	if err != nil {
		return err
	}
	a.Namespace, a.Mode, a.IssueLabels = run.Namespace, stage.ModeOf(b.Settings, b.Process.Role(run.Role), run.Kind), run.Labels
	for _, r := range run.Talk {
		a.Talk = append(a.Talk, &agentapi.Remark{Author: r.By, Body: r.Body})
	}
	if r := run.Exit.Returned; r != nil && r.Attempt < run.Attempt {
		a.Returned = &agentapi.Returned{Commit: r.Commit, Faults: r.Faults}
	}
	a.GoesOn = run.Grant != nil && run.Grant.GoesOn
	a.Learning = b.Settings.Learns(run.RequestedBy, run.RequestedByID, h.house.learning)
	a.Tools = toolsTold(run)
	s := b.Process.StageOf(run.Stage, run.Kind)
	a.Artefacts = files(b.Process, s.Makes, run.Issue)
	a.Documents = files(b.Process, slices.Concat(s.Needs, s.Reads), run.Issue)
	a.Language = cmp.Or(b.Settings.Language, h.house.language)
	a.Wordings = wordings(a.Language, []whose{
		{prompt.Installation, h.house.prompts.Version, h.house.prompts.Parts},
		{prompt.OfProject, strconv.Itoa(b.Version), b.Prompts},
	})
	return nil
}

// files are the named artefacts that are files of the issue.
func files(p *stage.Process, names []string, issue int) (all []*agentapi.Artefact) {
	for _, name := range names {
		if kind := p.Artefact(name); kind.Path != "" {
			all = append(all, &agentapi.Artefact{Name: name, Path: kind.PathFor(issue), About: kind.About})
		}
	}
	return all
}

// toolsTold are the run's tools. Those that ask people do nothing else, so nobody has to say yes to them first.
func toolsTold(run store.AgentRun) (all []*agentapi.Tool) {
	for _, t := range tool.Of(toolsOf(run)) {
		asks := strings.HasPrefix(t.Action, tool.ActionPrefix)
		all = append(all, &agentapi.Tool{Name: t.Name, Free: !asks || run.Grant != nil && slices.Contains(run.Grant.Free, t.Name)})
	}
	return all
}

type whose struct {
	source, version string
	parts           prompt.Parts
}

// wordings are the parts in the language, of those who have some.
func wordings(language string, all []whose) (out []*agentapi.Wording) {
	for _, w := range all {
		if parts := w.parts[language]; len(parts) > 0 {
			out = append(out, &agentapi.Wording{Source: w.source, Version: w.version, Parts: parts})
		}
	}
	return out
}

// keepPrompt notes what the task was written from, as the run's pod says.
func (h *handler) keepPrompt(ctx context.Context, run store.AgentRun, p *agentapi.Prompt) error {
	if p == nil || run.Prompted {
		return nil
	}
	short := func(s string) string { return plain.Cut(s, 100) }
	return h.db.KeepPrompt(ctx, run.ID, prompt.Used{
		Template: short(p.GetTemplate()), Language: short(p.GetLanguage()), Source: short(p.GetSource()), Version: short(p.GetVersion()), Hash: short(p.GetHash()),
	})
}
