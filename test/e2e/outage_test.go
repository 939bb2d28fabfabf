package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	fakechat "codexk8s.dev/test/fakes/chat"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestGitHubIsUnreachableForLong: GitHub answers nothing about issues, while an agent asks there what people are to
// decide. They are told in a chat, decide there, and the run goes on. When GitHub is back hours later it shows how
// everything stands, once. What an outage of a day has made dead letters of is shown when somebody has replayed it, as
// the doctor says.
func TestGitHubIsUnreachableForLong(t *testing.T) {
	ctx, s := start(t, stack.Options{Change: func(o *local.Options) { o.PingEvery = -1 }})
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	rules(t, sql, approval.Rule{
		Actions: []string{"question"}, Who: approval.Who{Roles: []string{"maintainer"}}, Deadline: 72 * time.Hour,
		Channels: []string{approval.GitHub}, Fallback: []string{approval.Telegram},
	})
	tick := func() {
		if err := s.Platform.Tick(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// pass lets time pass for what is outstanding, timers aside.
	pass := func(d time.Duration) {
		sql.Do(`
			UPDATE pending p
			SET due_at = due_at - $1::interval
			FROM events e
			WHERE (p.source, p.id) = (e.source, e.id) AND (e.not_before IS NULL OR e.not_before <= now())
		`, d)
		sql.Do(`UPDATE events SET time = time - $1::interval`, d)
		tick()
	}
	outage := func() {
		if err := s.GitHub.FailNext(fakegithub.Fault{Kind: "outage", Requests: -1, Path: "/issues"}); err != nil {
			t.Fatal(err)
		}
	}
	letters := func() int { return pgtest.One[int](sql, `SELECT count(*) FROM dead_letters WHERE handled_at IS NULL`) }
	posts := func() []fakechat.Post { return postsWith(s, fakechat.Telegram, "Which words?") }

	outage()
	issue := label(t, s, "One more language.\n\nAsk first: Which words? Bonjour | Salut")
	waits(ctx, t, sql, issue)
	if n := len(posts()); n != 0 {
		t.Errorf("%d messages in Telegram while GitHub has just stopped", n)
	}
	await(ctx, t, "the question in Telegram", func() bool { pass(11 * time.Minute); return len(posts()) > 0 })
	for range 4 {
		pass(time.Hour)
	}
	if n := len(s.GitHub.Comments(stack.Repository, issue)); n != 0 || letters() != 0 {
		t.Errorf("after hours there are %d comments and %d dead letters", n, letters())
	}
	if _, err := s.Chat.Click(ctx, posts()[0], "Salut", stack.Owner); err != nil {
		t.Fatal(err)
	}
	ends(ctx, t, sql, issue)
	s.GitHub.ClearFaults()
	shown := func() []string {
		is, err := s.GitHub.Issue(stack.Repository, issue)
		if err != nil {
			t.Fatal(err)
		}
		all := []string{fmt.Sprint("labels ", is.Labels), "runs " + strings.Join(sql.Lines(`SELECT state || ' ' || attempt FROM runs`), ", ")}
		for _, p := range posts() {
			all = append(all, fmt.Sprint("telegram: answered ", answeredBy(p.Text, stack.Owner)))
		}
		for _, c := range s.GitHub.Comments(stack.Repository, issue) {
			all = append(all, "comment: "+strings.Split(c.Body, "\n")[0])
		}
		return append(all, fmt.Sprint("pull requests ", len(s.GitHub.PullRequests(stack.Repository))), fmt.Sprint("dead letters ", letters()))
	}
	outstanding := func() int {
		return pgtest.One[int](sql, `SELECT count(*) FROM pending p JOIN events e USING (source, id) WHERE e.not_before IS NULL`)
	}
	await(ctx, t, "all that is outstanding", func() bool { pass(time.Hour); return outstanding() == 0 })
	want := []string{
		"labels [state:in-review]", "runs succeeded 1", "telegram: answered true", "comment: ### `run:dev`: done, ready for review",
		"comment: **✅ Answered**: `Which words?`", "pull requests 1", "dead letters 0",
	}
	if diff := cmp.Diff(want, shown()); diff != "" {
		t.Errorf("when GitHub is back (-want +got):\n%s", diff)
	}

	outage()
	other := label(t, s, "One more language.")
	await(ctx, t, "its run", func() bool { return pgtest.One[int](sql, `SELECT count(*) FROM runs WHERE issue = $1`, other) == 1 })
	ends(ctx, t, sql, other)
	await(ctx, t, "dead letters", func() bool { pass(time.Hour); return letters() > 0 && outstanding() == 0 })
	doctor := newDoctor(ctx, t, s)
	if said := doctor(); !strings.Contains(said, "dead letters") || !strings.Contains(said, "github-caller: ") {
		t.Errorf("the doctor does not say that github-caller has dead letters:\n%s", said)
	}
	s.GitHub.ClearFaults()
	for _, m := range regexp.MustCompile(`QUERY='([^']+)'`).FindAllStringSubmatch(doctor("dead-letters"), -1) {
		doctor("replay", m[1])
	}
	await(ctx, t, "what was replayed", func() bool { pass(time.Hour); return letters() == 0 && outstanding() == 0 })
	is, err := s.GitHub.Issue(stack.Repository, other)
	if diff := cmp.Diff([]string{"state:in-review"}, is.Labels); diff != "" || err != nil || len(s.GitHub.Comments(stack.Repository, other)) != 1 {
		t.Errorf("after the replay: %v, labels (-want +got):\n%s", err, diff)
	}
}
