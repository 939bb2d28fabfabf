package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/artefact"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/words"
)

// unfinished lists what is missing of the files that the stage makes, each as a line for people and the agent. The
// platform looks at the same on GitHub afterwards; here the agent can still mend it.
func (r *runner) unfinished(a *agentapi.Assignment) (faults []string, err error) {
	if len(a.GetArtefacts()) == 0 {
		return nil, nil
	}
	root, err := os.OpenRoot(r.env.checkout())
	if err != nil {
		return nil, fmt.Errorf("looking for the stage's files: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, file := range a.GetArtefacts() {
		if fault := fileFault(root, file.GetPath()); fault != "" {
			faults = append(faults, r.harmless(checkout.Code(file.GetPath())+" "+fault))
		}
	}
	return faults, nil
}

// fileFault says what is wrong with the file; "" if nothing is. What the agent put in its place may be anything, so
// nothing that is no plain file is waited for, and no link is followed.
func fileFault(root *os.Root, path string) string {
	path = filepath.FromSlash(path)
	info, err := root.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is missing"
	case err != nil || !info.Mode().IsRegular():
		return "is no file"
	case info.Size() > events.MaxContent:
		return "" // nobody's template
	}
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "can't be read"
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, events.MaxContent))
	if err != nil {
		return "can't be read"
	}
	if faults := artefact.Faults(text); len(faults) > 0 {
		return "is not finished: " + strings.Join(faults, "; ")
	}
	return ""
}

// incomplete says to people what is missing; "" if nothing is.
func incomplete(faults []string) string {
	if len(faults) == 0 {
		return ""
	}
	return "\n\nThe stage's work is not complete:\n\n" + words.List(faults)
}

// sendBack tells the agent once, in the same conversation, what is missing of the files that its stage makes.
func (r *runner) sendBack(ctx context.Context, a *agentapi.Assignment, b *beginning, summary string) (string, error) {
	faults, err := r.unfinished(a)
	if err != nil || len(faults) == 0 {
		return summary, err
	}
	r.log.Say("The work goes back to the agent: %s", strings.Join(faults, "; "))
	again := *b
	again.input.Missing, again.resumed = faults, true
	message, err := prompt.Incomplete(again.input)
	if err != nil {
		return "", unwritten(err)
	}
	again.message = message.Text
	return r.drive(ctx, a, &again)
}
