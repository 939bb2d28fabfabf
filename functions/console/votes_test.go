package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// ask has run runC (or another one) ask people: a maintainer of the project decides.
func (f *fixture) ask(run, project string, edit func(*approval.Request)) approval.Request {
	f.Helper()
	r := approval.Request{
		RunRef: events.RunRef{RunID: run, Project: project, Repository: "Acme/Shop", Issue: 15}, Kind: events.KindApproval, Stage: "dev", Role: "dev",
		Action: "tool:secret_sync", Title: "Write the secret basket-db into the run's namespace", Arguments: json.RawMessage(`{"name":"basket-db","namespace":"codexk8s-run-x"}`),
		Justification: "The service needs the password of its database to run its tests.", Risk: "The agent can read the test database.",
		RequestedBy: events.GitHubAccount{Login: "rita", ID: 4}, At: f.db.Now().Add(-5 * time.Minute),
	}
	if edit != nil {
		edit(&r)
	}
	sealed, err := approval.Seal(r)
	if err != nil {
		f.Fatal(err)
	}
	t := approval.Ticket{
		Request: sealed, State: approval.Open, Version: 1, Told: f.db.Now(), Expires: f.db.Now().Add(24 * time.Hour),
		Terms: approval.Terms{Lang: "en", Who: approval.Who{Roles: []string{string(access.Maintainer)}}, Quorum: 1, Veto: true, Self: approval.SelfNever, Deadline: 24 * time.Hour, Expiry: "deny"},
	}
	f.sql.Do(`INSERT INTO approvals (id, run_id, state, asked_at, ticket) VALUES ($1, $2, 'open', $3, $4)`, sealed.ID, run, sealed.At, t)
	return sealed
}

// send posts a vote as a program.
func (p *person) send(id, key, query string, body map[string]any) (status int, said string) {
	p.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		p.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.Context(), http.MethodPost, p.f.server.URL+"/v1/approvals/"+id+"/votes"+query, strings.NewReader(string(data)))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	if p.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+p.bearer)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// TestWhoMayVote: the request's policy decides, as in every channel; what is another project's is not there.
func TestWhoMayVote(t *testing.T) {
	f := setup(t)
	ours, theirs := f.ask(runC, "shop", nil), f.ask(theirs, "api", func(r *approval.Request) { r.Title = "Theirs" })
	for login, want := range map[string][2]int{"olga": {200, 200}, "adam": {200, 404}, "mary": {200, 404}, "rita": {422, 404}, "paul": {404, 200}} {
		p := f.as(login)
		for i, r := range []approval.Request{ours, theirs} {
			status, said := p.send(r.ID, "dry", "?dry_run=true", map[string]any{"choice": "approve", "digest": r.Digest})
			if status != want[i] {
				t.Errorf("%s votes on request %d: %d %s, want %d", login, i, status, said, want[i])
			}
		}
	}
	if status, _ := f.visitor().send(ours.ID, "k", "", map[string]any{"choice": "approve", "digest": ours.Digest}); status != http.StatusUnauthorized {
		t.Errorf("who is not signed in: %d", status)
	}
	agent := f.visitor()
	token, err := runtoken.Mint(bytes.Repeat([]byte("k"), 32), runtoken.Claims{
		RunID: runC, Namespace: "codexk8s-run-x", ServiceAccount: "agent", Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	agent.bearer = token
	if status, _ := agent.send(ours.ID, "k", "", map[string]any{"choice": "approve", "digest": ours.Digest}); status != http.StatusUnauthorized {
		t.Errorf("an agent with its run token: %d", status)
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM events`); n != 0 || len(f.sent) != 0 {
		t.Errorf("%d events are stored, %d sent, after trying only", n, len(f.sent))
	}
}

// TestOneVote: a form that is sent again, and a button pressed by fifty fingers, is one vote, which approval-gate can
// count as its person's.
func TestOneVote(t *testing.T) {
	f := setup(t)
	r := f.ask(runC, "shop", nil)
	mary := f.as("mary")
	form := url.Values{"choice": {"approve"}, "digest": {r.Digest[:12]}, "key": {"a-key"}, "text": {"  go on "}}
	done := make(chan int)
	for range 50 {
		go func() {
			resp, err := mary.client.PostForm(f.server.URL+"/approvals/"+r.ID+"/votes", form)
			if err != nil {
				done <- 0
				return
			}
			resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	for range 50 {
		if status := <-done; status != http.StatusOK {
			t.Fatalf("a click: %d", status)
		}
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM events WHERE type = 'dev.codexk8s.approval.voted'`); n != 1 {
		t.Fatalf("%d votes are stored", n)
	}
	var v events.ApprovalVoted
	if err := f.sent[0].DataAs(&v); err != nil {
		t.Fatal(err)
	}
	ticket, err := f.db.Ticket(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	var after approval.Ticket
	if err := f.db.Look(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		in, err := tx.Voted(ctx, ticket, v)
		if err == nil {
			after, _, err = approval.Decide(ticket, in, tx.Now())
		}
		return err
	}); err != nil || after.State != approval.Approved || fmt.Sprint(after.Outcome.By) != "[mary]" || v.Text != "go on" {
		t.Errorf("the vote %+v makes it %s, %v", v, after.State, err)
	}
	if status, said := mary.send(r.ID, "a-key", "", map[string]any{"choice": "deny", "digest": r.Digest}); status != http.StatusUnprocessableEntity || !strings.Contains(said, "idempotency-mismatch") {
		t.Errorf("the same key for another vote: %d %s", status, said)
	}
}

// TestVotesThatDoNotCount: each is told why, in a page that keeps what was written, and nothing is stored.
func TestVotesThatDoNotCount(t *testing.T) {
	f := setup(t)
	r := f.ask(runC, "shop", nil)
	over := f.ask(runC, "shop", func(r *approval.Request) { r.Repeat = 1 })
	f.sql.Do(`UPDATE approvals SET state = 'denied', decided_at = now(), ticket = jsonb_set(jsonb_set(ticket::jsonb, '{state}', '"denied"'), '{outcome}', '{"by": ["adam"], "at": "2031-05-06T07:08:09Z"}')::json WHERE id = $1`, over.ID)
	mary, rita := f.as("mary"), f.as("rita")
	for name, c := range map[string]struct {
		p    *person
		id   string
		form url.Values
		want int
		said string
	}{
		"of another digest":  {mary, r.ID, url.Values{"choice": {"approve"}, "digest": {"0123456789ab"}}, 422, "another request"},
		"without a choice":   {mary, r.ID, url.Values{"digest": {r.Digest}}, 422, "no answer to what is asked"},
		"of a reader":        {rita, r.ID, url.Values{"choice": {"approve"}, "digest": {r.Digest}}, 422, "not among those"},
		"too late":           {mary, over.ID, url.Values{"choice": {"approve"}, "digest": {over.Digest}}, 422, "adam"},
		"of what is not":     {mary, missing, url.Values{"choice": {"approve"}, "digest": {r.Digest}}, 404, "nothing here"},
		"with a zero byte":   {mary, r.ID, url.Values{"choice": {"approve"}, "digest": {r.Digest}, "text": {"a\x00b"}}, 200, "stored"},
		"that is too large":  {mary, r.ID, url.Values{"choice": {"approve"}, "digest": {r.Digest}, "text": {strings.Repeat("a", maxBody)}}, 400, "not understood"},
		"with a long answer": {mary, r.ID, url.Values{"choice": {"approve"}, "digest": {"0123456789ab"}, "text": {"what I wrote"}}, 422, "what I wrote"},
	} {
		if c.form.Get("key") == "" {
			c.form.Set("key", name)
		}
		resp, err := c.p.client.PostForm(f.server.URL+"/approvals/"+c.id+"/votes", c.form)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.want || !strings.Contains(string(body), c.said) {
			t.Errorf("a vote %s: %d, want %d with %q", name, resp.StatusCode, c.want, c.said)
		}
	}
}
