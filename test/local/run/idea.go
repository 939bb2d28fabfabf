package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codexk8s.dev/test/local/stack"
)

// documentsDir is where the documents of the story of an idea can be read afterwards.
var documentsDir = filepath.Join(os.TempDir(), "codexk8s-idea-to-ops")

// idea is the story of an idea through all stages.
func idea(s *stack.Stack, ctx context.Context, say func(string, ...any)) (func(io.Writer) error, error) {
	end, err := s.PlayIdea(ctx, say)
	return func(w io.Writer) error { return printIdea(w, end) }, err
}

func printIdea(w io.Writer, e stack.Idea) error {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("\nIssue #%d  %s, %s", e.Issue.Number, e.Issue.Title, e.Issue.State)
	for _, pull := range e.Pulls {
		p("  #%-3d %-34s → %-26s %s  %s", pull.Number, pull.Pull.Head, pull.Pull.Base, pull.State, strings.Join(pull.Labels, ", "))
	}
	p("Beside it, issue #%d  %s: %s", e.Quick.Number, e.Quick.Title, strings.Join(e.Quick.Labels, ", "))
	p("Status comment\n%s", indent(e.Comment))
	for i, r := range e.Runs {
		p("Run %-2d  %-10s %s, %s with %s", i+1, r.Stage, r.State, r.Engine, r.Model)
	}
	p("Model   %d calls, %d tokens in (%d cached), %d out, $%.4f", e.Usage.Calls, e.Usage.Input, e.Usage.Cached, e.Usage.Output, e.Usage.Cost)
	if err := os.RemoveAll(documentsDir); err != nil {
		return fmt.Errorf("removing the documents of before: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Documents)) {
		file := filepath.Join(documentsDir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil {
			err = os.WriteFile(file, []byte(e.Documents[name]), 0o644)
		}
		if err != nil {
			return fmt.Errorf("writing the documents: %w", err)
		}
	}
	p("%d documents of all eleven stages, as they are on the main branch: %s", len(e.Documents), documentsDir)
	return nil
}
