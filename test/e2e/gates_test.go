package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/shared/stage"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestAStagesFilesAreCheckedBeforeAndAfter takes an issue through two stages of documents. The second is not started
// before the first one's are there; it begins upon the first one's pull request, and goes to main once that is merged.
// And of an agent that leaves a file out, people are asked how to go on.
func TestAStagesFilesAreCheckedBeforeAndAfter(t *testing.T) {
	ctx, s := start(t, codex(t))
	w := gates{t: t, ctx: ctx, s: s, sql: pgtest.Open(t, s.Platform.DatabaseURL())}
	issue := w.issue("Let customers search the shop")

	w.label(issue, "run:prd")
	w.ended(issue, 1, "prd failed artefact_missing")
	w.comment(issue, "not started (artefact_missing)", fmt.Sprintf("`docs/work/%d/brief.md`, made by `run:intake`", issue))

	w.label(issue, "run:intake")
	w.ended(issue, 2, "intake succeeded ")
	pull := w.pull(issue, "intake")
	if pull.Pull.Draft || !strings.Contains(pull.Body, fmt.Sprintf("Part of #%d", issue)) {
		t.Errorf("the pull request is a draft: %t; it says\n%s", pull.Pull.Draft, pull.Body)
	}
	// The next stage's agent begins where the documents are.
	w.label(issue, "run:prd")
	w.ended(issue, 3, "prd succeeded ")
	upon := w.pull(issue, "prd")
	if upon.Pull.Base != pull.Pull.Head || upon.Pull.ChangedFiles != 3 {
		t.Errorf("the next pull request is into %s and changes %d files", upon.Pull.Base, upon.Pull.ChangedFiles)
	}
	for _, name := range []string{"problem", "brief", "scope_mvp", "personas", "constraints", "traceability", "prd", "nfr", "user_stories"} {
		if _, err := s.GitHub.File(stack.Repository, upon.Pull.Head, fmt.Sprintf("docs/work/%d/%s.md", issue, name)); err != nil {
			t.Error(err)
		}
	}

	_, err := s.GitHub.Merge(stack.Repository, pull.Number, stack.Owner)
	w.must(err)
	await(ctx, t, "the next pull request to go to main", func() bool { return w.pull(issue, "prd").Pull.Base == "main" })
	_, err = s.GitHub.Review(stack.Repository, upon.Number, "REQUEST_CHANGES", "Say more about cost.", nil, stack.Owner)
	w.must(err)
	w.ended(issue, 4, "prd succeeded ")

	other := w.issue("Leave out for good: personas.md")
	w.label(other, "run:intake")
	w.ended(other, 1, "intake failed artefacts_incomplete")
	w.comment(other, fmt.Sprintf("`docs/work/%d/personas.md` is missing", other), "remove `need:input`, then set `run:intake:revise`")
	await(ctx, t, "need:input", func() bool {
		is, err := s.GitHub.Issue(stack.Repository, other)
		return err == nil && slices.Contains(is.Labels, "need:input")
	})
	if pull := w.pull(other, "intake"); !pull.Pull.Draft {
		t.Errorf("pull request #%d is no draft", pull.Number)
	}
}

// gates is the platform with what the test asks it.
type gates struct {
	t   *testing.T
	ctx context.Context
	s   *stack.Stack
	sql *pgtest.DB
}

func (w gates) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w gates) issue(body string) int {
	w.t.Helper()
	n, err := w.s.GitHub.CreateIssue(stack.Repository, "Search in the shop", body, stack.Owner)
	w.must(err)
	return n
}

// pull is the pull request of the issue's stage; "" = of the one that changes code.
func (w gates) pull(issue int, of string) fakegithub.Issue {
	w.t.Helper()
	for _, p := range w.s.GitHub.PullRequests(stack.Repository) {
		if p.Pull.Head == strings.TrimSuffix(stage.Branch(issue)+"-"+of, "-") {
			return p
		}
	}
	w.t.Fatalf("issue #%d has no pull request", issue)
	return fakegithub.Issue{}
}

func (w gates) label(issue int, label string) {
	w.t.Helper()
	w.must(w.s.GitHub.AddLabel(stack.Repository, issue, label, stack.Owner))
}

// ended waits until the issue's n-th run is over, and its trigger gone.
func (w gates) ended(issue, n int, want string) {
	w.t.Helper()
	var runs []string
	await(w.ctx, w.t, want, func() bool {
		runs = w.sql.Lines(`SELECT stage || ' ' || state || ' ' || reason FROM runs WHERE issue = $1 AND finished_at IS NOT NULL ORDER BY created_at`, issue)
		is, err := w.s.GitHub.Issue(stack.Repository, issue)
		w.must(err)
		return len(runs) == n && !slices.ContainsFunc(is.Labels, func(l string) bool { return strings.HasPrefix(l, "run:") })
	})
	if runs[n-1] != want {
		w.t.Fatalf("run %d is %q, want %q: %v", n, runs[n-1], want, w.sql.Lines(`SELECT message FROM runs WHERE issue = $1 ORDER BY created_at`, issue))
	}
}

// comment waits until the issue's status comment says all of it.
func (w gates) comment(issue int, parts ...string) {
	w.t.Helper()
	await(w.ctx, w.t, strings.Join(parts, ", "), func() bool {
		all := w.s.GitHub.Comments(stack.Repository, issue)
		return len(all) > 0 && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(all[0].Body, p) })
	})
}
