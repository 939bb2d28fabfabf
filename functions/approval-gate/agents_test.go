package main

import (
	"bytes"
	"net/http"
	"testing"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/pg/pgtest"
)

// An agent can't decide what it asks: not by a comment of the App as which it works, whatever role the App's account
// was given, nor by a comment that a program writes in a person's name, nor by a chat account that is linked to a
// program.
func TestAnAgentNeverVotes(t *testing.T) {
	f := setup(t, pgtest.New(t))
	f.sql.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('demo', 'codexk8s[bot]', 'owner', 900), ('*', 'codexk8s[bot]', 'owner', 900)`)
	f.sql.Do(`INSERT INTO chat_accounts (channel, account, github_id, login, linked_at) VALUES ('telegram', '900', 900, 'codexk8s[bot]', now())`)
	r := f.request(nil)
	f.hear(r)
	f.said()
	app := comment("created", "/approve", "codexk8s[bot]", 900, "")
	for name, data := range map[string][]byte{
		"the App":                 bytes.ReplaceAll(app, []byte(`"type":"User"`), []byte(`"type":"Bot"`)),
		"the App, said to be one": app,
		"the App for a person":    comment("created", "/approve", "bob", 2, `,"performed_via_github_app":{"id":1}`),
		"quoted by a person":      comment("created", "> /approve", "bob", 2, ""),
		"an account of no number": comment("created", "/approve", "bob", 0, ""),
	} {
		if code := f.deliver(events.GitHubType("issue_comment"), data); code != http.StatusAccepted {
			t.Errorf("%s: answered %d", name, code)
		}
		f.wantState(r, approval.Open)
	}
	f.hear(vote(r, "telegram", "900", events.Approve, "bot"))
	f.hear(vote(r, "http", "nobody", events.Approve, "stranger"))
	f.wantState(r, approval.Open)
	if n := pgtest.One[int](f.sql, `SELECT count(*) FROM audit WHERE action = 'vote.counted'`); n != 0 {
		t.Errorf("%d votes were counted", n)
	}
}

// A rule that came after the request and lets the tool be free needs nobody any more: the agent is not kept waiting.
func TestWhatNeedsNobodyAnyMore(t *testing.T) {
	f := setup(t, pgtest.New(t))
	f.sql.Do(`UPDATE projects SET settings = '{"approvals":{"rules":[{"actions":["tool:secret_sync"],"free":true,"who":{},"deadline":0}]}}'`)
	r := f.request(nil)
	f.hear(r)
	f.wantState(r, approval.Approved)
	label := f.request(func(r *approval.Request) { r.Action = "label:run:dev" })
	f.hear(label)
	f.wantState(label, approval.Open)
}
