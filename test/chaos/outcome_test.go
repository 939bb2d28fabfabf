package chaos

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/stack"
)

// outcome is what became of one issue.
type outcome struct {
	Runs       []string // state, and the reason of a failure
	Labels     []string
	Comments   []string // who wrote it, and its headline
	Pulls      int
	PullLabels []string
	Commits    int
	Status     []string // the last of each context on the pull request's head
	Pending    []string // function and type of what is not recorded yet
}

// good is what should become of every issue.
var good = outcome{
	Runs:       []string{"dev succeeded"},
	Labels:     []string{stack.LabelInReview},
	Comments:   []string{"codexk8s[bot]: ### `run:dev`: done, ready for review"},
	Pulls:      1,
	PullLabels: []string{stack.LabelInReview},
	Commits:    1,
	Status:     []string{"codexk8s/dev success"},
}

// problems are the issues that are not as they should be, with the difference.
func (w *world) problems() map[int]string {
	w.t.Helper()
	ctx := w.t.Context()
	runs := w.byIssue(ctx, `
		SELECT issue, rtrim(stage || ' ' || state || ' ' || reason || ' ' || message) FROM runs ORDER BY created_at
	`)
	pending := w.byIssue(ctx, `
		SELECT split_part(e.correlation, '#', 2)::int, p.function || ' ' || e.type
		FROM pending p JOIN events e USING (source, id)
		WHERE e.not_before IS NULL AND e.correlation LIKE '%#%'
		ORDER BY e.stored_at
	`)
	pulls := map[string][]fakegithub.Issue{}
	for _, p := range w.stack.GitHub.PullRequests(stack.Repository) {
		pulls[p.Pull.Head] = append(pulls[p.Pull.Head], p)
	}
	problems := map[int]string{}
	for _, n := range w.issues {
		issue, err := w.stack.GitHub.Issue(stack.Repository, n)
		if err != nil {
			w.t.Fatal(err)
		}
		got := outcome{Runs: runs[n], Labels: issue.Labels, Pending: pending[n]}
		for _, c := range w.stack.GitHub.Comments(stack.Repository, n) {
			headline, _, _ := strings.Cut(c.Body, "\n")
			got.Comments = append(got.Comments, c.User+": "+headline)
		}
		for _, p := range pulls[fmt.Sprintf("codexk8s/issue-%d", n)] {
			got.Pulls++
			got.PullLabels, got.Commits, got.Status = p.Labels, p.Pull.Commits, w.status(p.Pull.HeadSHA)
		}
		want, ok := w.wants[n]
		if !ok {
			want = good
		}
		if diff := cmp.Diff(want, got); diff != "" {
			problems[n] = diff
		}
	}
	return problems
}

// status returns the last state of each context of a commit.
func (w *world) status(sha string) []string {
	last := map[string]string{}
	for _, s := range w.stack.GitHub.Statuses(stack.Repository, sha) {
		last[s.Context] = s.Context + " " + s.State
	}
	return slices.Sorted(maps.Values(last))
}

// byIssue groups the lines of a query by the issue.
func (w *world) byIssue(ctx context.Context, query string) map[int][]string {
	w.t.Helper()
	rows, err := w.db.Query(ctx, query)
	if err != nil {
		w.t.Fatal(err)
	}
	lines := map[int][]string{}
	var issue int
	var line string
	if _, err := pgx.ForEachRow(rows, []any{&issue, &line}, func() error {
		lines[issue] = append(lines[issue], line)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return lines
}

// explain says which issues went wrong, and how the first three came to that.
func (w *world) explain(problems map[int]string) {
	w.t.Helper()
	numbers := slices.Sorted(maps.Keys(problems))
	w.t.Errorf("with -issues %d -seed %d, issues not as they should be: %v", len(w.issues), w.seed, numbers)
	for _, n := range numbers[:min(3, len(numbers))] {
		w.t.Errorf("%s#%d (-want +got):\n%s\n%s", stack.Repository, n, problems[n], w.timeline(n))
	}
}

// timeline is all that is known of an issue, in the order in which it happened.
func (w *world) timeline(issue int) string {
	ctx := context.WithoutCancel(w.t.Context())
	var b strings.Builder
	item := fmt.Sprintf("%s#%d", stack.Repository, issue)
	for _, part := range []struct{ title, query string }{
		{"events, with the functions that recorded them", `
			SELECT e.stored_at, e.type, e.id, coalesce('from ' || nullif(e.function, ''), 'from outside'), 'cause ' || e.cause_id,
				coalesce('not before ' || e.not_before, ''),
				coalesce((SELECT string_agg(i.function || ' at ' || i.handled_at::time(3), ', ') FROM inbox i
				          WHERE (i.source, i.id) = (e.source, e.id)), 'nobody')
			FROM events e WHERE e.correlation = $1 ORDER BY e.stored_at`},
		{"still to be recorded", `
			SELECT p.function, e.type, e.id, p.due_at, p.attempts FROM pending p JOIN events e USING (source, id) WHERE e.correlation = $1`},
		{"audit", `SELECT at, actor, action, reason, detail, function, event_id FROM audit WHERE work_item = $1 OR run_id IN
			(SELECT id FROM runs WHERE repository || '#' || issue = $1) ORDER BY seq`},
		{"runs", `SELECT created_at, id::text, state, reason, message, namespace, started_at, heartbeat_at, finished_at FROM runs
			WHERE repository || '#' || issue = $1 ORDER BY created_at`},
		{"log of the agent", `SELECT l.at, l.stream, l.line FROM run_logs l JOIN runs r ON r.id = l.run_id
			WHERE r.repository || '#' || r.issue = $1 ORDER BY l.seq`},
	} {
		fmt.Fprintf(&b, "── %s: %s\n", item, part.title)
		rows, err := w.db.Query(ctx, part.query, item)
		var lines []string
		if err == nil {
			lines, err = texts(rows)
		}
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
		}
		for _, line := range lines {
			fmt.Fprintln(&b, line)
		}
	}
	for _, name := range functions {
		for _, line := range w.logged(name, item) {
			fmt.Fprintf(&b, "%s | %s\n", name, line)
		}
	}
	fmt.Fprintf(&b, "── %s: on GitHub, whose clock is a minute behind\n", item)
	for _, e := range w.stack.GitHub.Events(stack.Repository, issue) {
		fmt.Fprintf(&b, "%s  %s  %s  %s\n", e.CreatedAt.UTC().Format("15:04:05"), e.Event, e.Actor, e.Label)
	}
	for _, line := range w.stack.GitHub.Writes() {
		if strings.Contains(line+" ", item+" ") || strings.Contains(line, fmt.Sprintf("codexk8s/issue-%d ", issue)) {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// logged are the lines of a function's log about a work item.
func (w *world) logged(function, item string) (lines []string) {
	data, err := os.ReadFile(filepath.Join(w.stack.Platform.Dir(), "logs", function+".log"))
	if err != nil {
		return []string{err.Error()}
	}
	about := regexp.MustCompile(regexp.QuoteMeta(item) + `\b`)
	for line := range strings.Lines(string(data)) {
		if about.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
