package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestAnAgentReviewsForPeople has an agent review what another one has made. It leaves one review, with remarks on
// lines of the diff, which starts nothing; a person does, and the one who made it goes on in its own conversation.
func TestAnAgentReviewsForPeople(t *testing.T) {
	ctx, s := start(t, codex(t))
	w := gates{t: t, ctx: ctx, s: s, sql: pgtest.Open(t, s.Platform.DatabaseURL())}
	issue, err := s.GitHub.CreateIssue(stack.Repository, stack.IssueTitle, "Say it politely.\nFind: `greetings/french.txt:1` **major**: nobody says that, @bob\nFind: `README.md:1` **minor**: it is not told there", stack.Owner)
	w.must(err)
	w.label(issue, stack.LabelDev)
	w.ended(issue, 1, "dev succeeded ")
	pull := w.pull(issue, "")

	w.label(pull.Number, "need:reviewer")
	w.ended(issue, 2, "dev succeeded ")
	w.comment(issue, "### `need:reviewer`: reviewed", fmt.Sprintf("on pull request #%d, with 1 finding on lines of its diff and 1 finding in its summary", pull.Number))
	await(ctx, t, "the label to be gone", func() bool {
		is, err := s.GitHub.Issue(stack.Repository, pull.Number)
		return err == nil && !slices.Contains(is.Labels, "need:reviewer") && slices.Contains(is.Labels, "state:in-review")
	})
	if diff := cmp.Diff([]string{
		fmt.Sprintf("comment %s#%d greetings/french.txt:1 \"**major**: nobody says that, @\\u200bbob\"", stack.Repository, pull.Number),
		fmt.Sprintf("review %s#%d COMMENTED \"It does what the issue asks, and could be merged. The worst is that some readers…\"", stack.Repository, pull.Number),
	}, w.reviews(pull.Number)); diff != "" {
		t.Errorf("the review (-want +got):\n%s", diff)
	}
	if head := w.pull(issue, "").Pull.HeadSHA; head != pull.Pull.HeadSHA {
		t.Errorf("the branch moved to %s", head)
	}
	if states := s.GitHub.Statuses(stack.Repository, pull.Pull.HeadSHA); len(states) != 1 {
		t.Errorf("the review is a status of the commit: %v", states)
	}

	_, err = s.GitHub.Review(stack.Repository, pull.Number, "REQUEST_CHANGES", "Please add “Salut !”, too.", nil, stack.Owner)
	w.must(err)
	w.ended(issue, 3, "dev succeeded ")
	threads := w.sql.Lines(`SELECT kind || ' ' || role || ' ' || dense_rank() OVER (ORDER BY thread_id) FROM runs WHERE issue = $1 ORDER BY created_at`, issue)
	if len(threads) != 3 || threads[0][len("work dev "):] != threads[2][len("revise dev "):] || threads[0][len("work dev "):] == threads[1][len("review reviewer "):] {
		t.Errorf("conversations: %q", threads)
	}
}

// reviews are what was written as reviews of the pull request, by whomever.
func (w gates) reviews(pull int) (all []string) {
	w.t.Helper()
	for _, line := range w.s.GitHub.Writes() {
		_, what, _ := strings.Cut(line, ": ")
		if about := fmt.Sprintf(" %s#%d ", stack.Repository, pull); strings.HasPrefix(what, "review"+about) || strings.HasPrefix(what, "comment"+about) {
			all = append(all, what)
		}
	}
	return all
}
