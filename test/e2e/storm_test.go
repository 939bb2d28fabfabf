package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/shared/stage"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestFortyIssuesAreLabelledAtOnce: as many start as the process allows, the others show that they are held, one
// comment tells of all of them, and taking the label off lets one go.
func TestFortyIssuesAreLabelledAtOnce(t *testing.T) {
	ctx, s := start(t, stack.Options{})
	s.Platform.Jobs.Stop() // agents have no part in this
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	const forty = 40
	var issues []int
	for range forty {
		issues = append(issues, label(t, s, "Add it beside the English one."))
	}
	allowed := stage.Default().Storm.Runs
	state := func() string {
		return pgtest.One[string](sql, `SELECT (SELECT count(*) FROM runs) || ' ' || count(held) FROM work_items`)
	}
	await(ctx, t, "what starts and what is held", func() bool { return state() == fmt.Sprintf("%d %d", allowed, forty-allowed) })
	shown := func(name string) (with []int) {
		for _, n := range issues {
			if is, err := s.GitHub.Issue(stack.Repository, n); err == nil && slices.Contains(is.Labels, name) {
				with = append(with, n)
			}
		}
		return with
	}
	await(ctx, t, "the labels", func() bool { return len(shown("state:held")) == forty-allowed && len(shown(stack.LabelDev)) <= allowed })
	held := shown("state:held")
	var told []int
	await(ctx, t, "one comment that names all others", func() bool {
		if err := s.Platform.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		told = nil
		names := 0
		for _, n := range held {
			for _, c := range s.GitHub.Comments(stack.Repository, n) {
				told, names = append(told, n), strings.Count(c.Body, "`run:dev`")-1
			}
		}
		return names == len(held)-1
	})
	if len(told) != 1 {
		t.Errorf("of the %d issues that are held, %v have a comment", len(held), told)
	}
	last := held[len(held)-1]
	if err := s.GitHub.RemoveLabel(stack.Repository, last, "state:held", stack.Owner); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the run that was let go", func() bool {
		return pgtest.One[int](sql, `SELECT count(*) FROM runs WHERE issue = $1`, last) == 1 && state() == fmt.Sprintf("%d %d", allowed+1, forty-allowed-1)
	})
}
