package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

const askingRun = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"

// TestPeopleDecideInChats: what a run asks stands in every chat and on the issue, a click in any one of them decides
// it, once, and all of them show who did. All functions start from zero on their first event.
func TestPeopleDecideInChats(t *testing.T) {
	ctx, s := start(t, stack.Options{})
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	running(sql)
	people := []string{fakechat.Telegram, fakechat.Slack, fakechat.Mattermost, fakechat.Jira}
	for round, decider := range people {
		r := ask(ctx, t, s, secret(decider))
		newest := func(channel string) fakechat.Post { return s.Chat.Posts(channel)[round] }
		await(ctx, t, "the request of "+decider+" in every chat", func() bool {
			for _, channel := range append([]string{fakechat.Approver}, people...) {
				if len(s.Chat.Posts(channel)) <= round {
					return false
				}
			}
			return true
		})
		if _, err := s.Chat.Click(ctx, newest(fakechat.Telegram), "Approve", stack.Stranger); err != nil {
			t.Fatal(err)
		}
		// No rule names the approver, so it is shown the request and has no say.
		if said, err := s.Chat.Click(ctx, newest(fakechat.Approver), "Approve", stack.Owner); err != nil || said.Status != http.StatusNotFound {
			t.Fatalf("the approver is answered %+v, %v", said, err)
		}
		await(ctx, t, "both votes that do not count", func() bool { // after the decision they would be late ones
			return pgtest.One[int](sql, `SELECT count(*) FROM audit WHERE action = 'vote.refused'`) == 2*(round+1)
		})
		if _, err := s.Chat.Click(ctx, newest(decider), "Approve", stack.Owner); err != nil {
			t.Fatal(err)
		}
		await(ctx, t, "the outcome in every chat after a click in "+decider, func() bool {
			return !slices.ContainsFunc(people, func(channel string) bool { return !strings.Contains(newest(channel).Text, "Approved") })
		})
		got := sql.Lines(`SELECT action || ' ' || reason FROM audit WHERE action LIKE 'vote.%' OR action LIKE 'approval.approved' ORDER BY seq`)
		want := slices.Repeat([]string{"vote.refused " + reason.NotLinked, "vote.refused " + reason.NotPermitted, "vote.counted ", "approval.approved "}, round+1)
		slices.Sort(got) // the two that don't count come in any order
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the audit (-want +got):\n%s", decider, diff)
		}
		for _, channel := range people {
			if all := s.Chat.Posts(channel); len(all) != round+1 || channel != fakechat.Jira && len(newest(channel).Buttons) != 0 {
				t.Errorf("%s decided, and %s shows %+v", decider, channel, all)
			}
		}
		if n := pgtest.One[int](sql, `SELECT count(*) FROM events WHERE type = $1 AND subject = $2`, events.ApprovalDecided{}.EventType(), r.ID); n != 1 {
			t.Errorf("%s: decided %d times", decider, n)
		}
	}
}

// TestAnApproverDecides: an HTTP approver that a rule of the project names says yes, and answers a question as an
// executor, and all chats show it.
func TestAnApproverDecides(t *testing.T) {
	ctx, s := start(t, stack.Options{})
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	running(sql)
	rules(t, sql, approval.Rule{Actions: []string{"*"}, Who: approval.Who{Approvers: []string{stack.ApproverName}}, Deadline: time.Hour})
	question := func(r *approval.Request) {
		r.Kind, r.Action, r.Title, r.Options = events.KindQuestion, "question", "Which database shall it be?", []string{"Postgres", "SQLite"}
	}
	for round, c := range []struct {
		what    func(*approval.Request)
		button  string
		outcome approval.State
		shown   string
	}{{secret("db"), "Approve", approval.Approved, "Approved"}, {secret("other"), "Deny", approval.Denied, "Denied"}, {question, "2. SQLite", approval.Answered, "Answered"}} {
		r := ask(ctx, t, s, c.what)
		chats := []string{fakechat.Approver, fakechat.Telegram, fakechat.Slack, fakechat.Mattermost, fakechat.Jira}
		await(ctx, t, "the request in every chat", func() bool {
			return !slices.ContainsFunc(chats, func(channel string) bool { return len(s.Chat.Posts(channel)) <= round })
		})
		// No rule names people, whatever they are in the project.
		if _, err := s.Chat.Click(ctx, s.Chat.Posts(fakechat.Telegram)[round], strings.TrimPrefix(c.button, "2. "), stack.Owner); err != nil {
			t.Fatal(err)
		}
		if said, err := s.Chat.Click(ctx, s.Chat.Posts(fakechat.Approver)[round], c.button, stack.Owner); err != nil || said.Status != http.StatusOK {
			t.Fatalf("the approver is answered %+v, %v", said, err)
		}
		await(ctx, t, "the outcome in every chat", func() bool {
			return !slices.ContainsFunc(chats[1:], func(channel string) bool { return !strings.Contains(s.Chat.Posts(channel)[round].Text, c.shown) })
		})
		got := sql.Lines(`SELECT concat_ws(' ', e ->> 'outcome', e -> 'by' ->> 0, e ->> 'option')
			FROM (SELECT convert_from(data, 'UTF8')::jsonb AS e FROM events WHERE type = $1 AND subject = $2) AS decided`, events.ApprovalDecided{}.EventType(), r.ID)
		want := string(c.outcome) + " http:" + stack.ApproverName
		if c.outcome == approval.Answered {
			want += " 2"
		}
		if diff := cmp.Diff([]string{want}, got); diff != "" {
			t.Errorf("decided (-want +got):\n%s", diff)
		}
	}
}

// running is a run whose agent asks.
func running(sql *pgtest.DB) {
	sql.Do(`INSERT INTO work_items (repository, issue, full_name) VALUES ($1, $2, $1)`, stack.Repository, stack.Issue)
	sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($1, $2, $3, 'demo', 'dev', 'dev', 'running', 'builtin', 'm', 'somebody', 'i', 'n', now())
	`, askingRun, stack.Repository, stack.Issue)
}

// secret asks for a Secret by a name.
func secret(name string) func(*approval.Request) {
	return func(r *approval.Request) {
		r.Kind, r.Action, r.Title, r.Arguments = events.KindApproval, "tool:secret_sync", "Write the secret db", json.RawMessage(`{"name":"`+name+`"}`)
	}
}

// ask asks as agent-gateway does for an agent.
func ask(ctx context.Context, t *testing.T, s *stack.Stack, what func(*approval.Request)) approval.Request {
	t.Helper()
	asked := approval.Request{
		RunRef: events.RunRef{RunID: askingRun, Project: "demo", Repository: stack.Repository, Issue: stack.Issue}, Stage: "dev", Role: "dev",
		RequestedBy: events.GitHubAccount{Login: "somebody", ID: 99}, At: time.Now().UTC(),
	}
	what(&asked)
	r, err := approval.Seal(asked)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, "agent-gateway", s.Platform.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(ctx) }()
	es, err := db.Emit(ctx, store.Cause{Source: "test", ID: r.ID}, r.Correlation(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{Emit: []events.Draft{events.Now(r)}}, nil
	})
	if err == nil {
		err = serve.New("agent-gateway", s.Platform.Broker().URL()).Send(ctx, es...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}
