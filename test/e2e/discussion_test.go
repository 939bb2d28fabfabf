package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestPeopleDiscussAnIssueAndAStageGoesOnFromIt: Codex speaks first, answers a comment in the same conversation, and
// pushes nothing. The stage's run is another conversation, which is told what was said.
func TestPeopleDiscussAnIssueAndAStageGoesOnFromIt(t *testing.T) {
	ctx, s := start(t, codex(t))
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	issue, err := s.GitHub.CreateIssue(stack.Repository, stack.IssueTitle, "One more language.", stack.Owner)
	if err == nil {
		err = s.GitHub.AddLabel(stack.Repository, issue, "mode:discussion", stack.Owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	answers := func() int {
		return len(slices.DeleteFunc(s.GitHub.Comments(stack.Repository, issue), func(c fakegithub.Comment) bool { return !strings.Contains(c.Body, "I have read") }))
	}
	await(ctx, t, "the first words", func() bool { return answers() == 1 })
	const remark = `It should say "Salut", shouldn't it?`
	if _, err := s.GitHub.Comment(stack.Repository, issue, remark, stack.Owner); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the answer", func() bool { return answers() == 2 })
	last := lastCall(s, "You wrote")
	if last == "" {
		last = lastCall(s, "Salut")
	}
	if n := strings.Count(last, "discuss issue #"); n != 2 {
		t.Errorf("the second turn's conversation holds %d tasks, want both turns'", n)
	}
	if err := s.GitHub.AddLabel(stack.Repository, issue, stack.LabelDev, stack.Owner); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the end of the stage", func() bool {
		return len(sql.Lines(`SELECT id::text FROM runs WHERE kind = 'work' AND state = 'succeeded'`)) == 1
	})
	greeting, err := s.GitHub.File(stack.Repository, fmt.Sprintf("codexk8s/issue-%d", issue), "greetings/french.txt")
	if diff := cmp.Diff("Bonjour, le monde !\nSalut\n", greeting); err != nil || diff != "" {
		t.Errorf("the file goes by what was discussed (-want +got): %v\n%s", err, diff)
	}
	got := sql.Lines(`SELECT kind || ' ' || state || ' ' || coalesce(jsonb_array_length(nullif(talk, 'null')), 0) FROM runs ORDER BY created_at`)
	if diff := cmp.Diff([]string{"discussion succeeded 0", "discussion succeeded 1", "work succeeded 3"}, got); diff != "" {
		t.Errorf("the runs, with what was said in each (-want +got):\n%s", diff)
	}
	threads := sql.Lines(`SELECT count(DISTINCT thread_id) || ' of ' || kind FROM runs GROUP BY kind ORDER BY kind`)
	if diff := cmp.Diff([]string{"1 of discussion", "1 of work"}, threads); diff != "" {
		t.Errorf("conversations (-want +got):\n%s", diff)
	}
	if n := len(s.GitHub.PullRequests(stack.Repository)); n != 1 {
		t.Errorf("there are %d pull requests", n)
	}
}
