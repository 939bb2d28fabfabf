package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/hostile"
	"codexk8s.dev/test/local/pg/pgtest"
)

func (f *fixture) wantSaid(what string, want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, f.said()); diff != "" {
		f.Errorf("%s, sent (-want +got):\n%s", what, diff)
	}
}

func TestARequestIsOpenedDecidedOnceAndShownAgain(t *testing.T) {
	f := setup(t, pgtest.New(t))
	r := f.request(nil)
	if code := f.hear(r); code != http.StatusAccepted {
		t.Fatalf("answered %d", code)
	}
	f.wantSaid("asked", "approval.changed")
	f.wantState(r, approval.Open)
	f.hear(r)
	f.wantSaid("asked again")
	f.hear(vote(r, "slack", "U11", events.Approve, "own"))
	f.wantSaid("alice of her own run", "approval.refused")
	f.hear(vote(r, "slack", "U12", events.Approve, "click"))
	got := f.said()
	if len(got) != 2 || !strings.Contains(fmt.Sprint(got), "approval.decided") || !strings.Contains(fmt.Sprint(got), "approval.changed") {
		t.Errorf("bob, sent %v", got)
	}
	f.wantState(r, approval.Approved)
	f.hear(vote(r, "telegram", "12", events.Deny, "late"))
	f.wantSaid("too late", "approval.refused")
	f.wantState(r, approval.Approved)
	if n := pgtest.One[int](f.sql, `SELECT count(*) FROM audit WHERE action = 'approval.approved'`); n != 1 {
		t.Errorf("decided %d times", n)
	}
}

// Many people click at the same instant, on several instances, and each delivery comes twice: one decides.
func TestManyVotesAtOnceDecideOnce(t *testing.T) {
	f := setup(t, pgtest.New(t))
	r := f.request(nil)
	f.hear(r)
	f.said()
	var all sync.WaitGroup
	for i := range 8 {
		choice := []events.Choice{events.Approve, events.Deny}[i%2]
		data, err := json.Marshal(vote(r, []string{"telegram", "slack"}[i%2], []string{"12", "U12"}[i%2], choice, fmt.Sprint("click-", i)))
		if err != nil {
			t.Fatal(err)
		}
		id, typ := fmt.Sprint("vote-", i), events.ApprovalVoted{}.EventType()
		f.sql.Log("https://test", id, typ, data)
		for range 2 {
			all.Go(func() {
				if code := f.again(id, typ, data); code != http.StatusAccepted {
					t.Errorf("answered %d", code)
				}
			})
		}
	}
	all.Wait()
	if n := pgtest.One[int](f.sql, `SELECT count(*) FROM events WHERE type = $1`, events.ApprovalDecided{}.EventType()); n != 1 {
		t.Errorf("decided %d times", n)
	}
}

func TestTheSameOfANewerCommitTakesTheOldOnesPlace(t *testing.T) {
	f := setup(t, pgtest.New(t))
	old, other := f.request(nil), f.request(func(r *approval.Request) { r.Arguments = json.RawMessage(`{"name":"other"}`) })
	f.hear(old)
	f.hear(other)
	f.hear(f.request(func(r *approval.Request) { r.HeadSHA = "beef" }))
	f.wantState(old, approval.Superseded)
	f.wantState(other, approval.Open)
}

// What a run still asks ends with it, whichever of the two is heard first.
func TestARunThatIsOverAsksNothing(t *testing.T) {
	f := setup(t, pgtest.New(t))
	first, second := f.request(nil), f.request(func(r *approval.Request) { r.Title, r.Arguments = "late", json.RawMessage(`{"name":"late"}`) })
	f.hear(first)
	f.sql.Do(`UPDATE runs SET state = 'cancelled', finished_at = now()`)
	f.said()
	f.hear(events.RunFinished{RunRef: ref, State: "cancelled"})
	f.wantState(first, approval.Withdrawn)
	f.hear(second)
	f.wantState(second, approval.Withdrawn)
	if code := f.hear(events.RunFinished{RunRef: ref, State: "cancelled"}); code != http.StatusAccepted {
		t.Errorf("told again, answered %d", code)
	}
	other := f.request(func(r *approval.Request) { r.RunID = "00000000-0000-4000-8000-000000000000" })
	if code := f.hear(other); code != http.StatusUnprocessableEntity {
		t.Errorf("a run that nobody knows, answered %d", code)
	}
}

// Time that is up ends a request by its timer, or by the vote that comes before the timer does.
func TestTimeThatIsUp(t *testing.T) {
	f := setup(t, pgtest.New(t))
	byTimer, byVote := f.request(nil), f.request(func(r *approval.Request) { r.Arguments = json.RawMessage(`{"name":"vote"}`) })
	f.hear(byTimer)
	f.hear(byVote)
	f.pass(100 * 24 * time.Hour)
	f.hear(events.ApprovalDue{RunRef: ref, RequestID: byTimer.ID, Round: 1})
	f.wantState(byTimer, approval.Expired)
	f.hear(vote(byVote, "slack", "U12", events.Approve, "late"))
	f.wantState(byVote, approval.Expired)
	f.hear(events.ApprovalDue{RunRef: ref, RequestID: byTimer.ID, Round: 1})
	f.wantState(byTimer, approval.Expired)
}

func comment(action, body, login string, id int64, more string) []byte {
	return fmt.Appendf(nil, `{"action":%q,"issue":{"number":1,"updated_at":"2031-05-06T07:08:09Z"},"comment":{"id":501,"body":%q,"user":{"login":%q,"id":%d,"type":"User"},
		"updated_at":"2031-05-06T07:08:09Z"%s},"repository":{"id":77,"full_name":"acme/demo"},"sender":{"login":%q,"id":%d,"type":"User"}}`, action, body, login, id, more, login, id)
}

func TestCommentsAreVotesOfPeopleWithTheRight(t *testing.T) {
	f := setup(t, pgtest.New(t))
	n := 1000
	for name, c := range map[string]struct {
		payload []byte
		want    approval.State
		refused int
	}{
		"approved":                   {comment("created", "/approve", "bob", 2, ""), approval.Approved, 0},
		"denied, with a reason":      {comment("created", "  /Deny too risky\nreally", "bob", 2, ""), approval.Denied, 0},
		"by the digest":              {comment("created", "/approve DIGEST", "bob", 2, ""), approval.Approved, 0},
		"of another request":         {comment("created", "/approve 0123456789ab", "bob", 2, ""), approval.Open, 1},
		"their own run":              {comment("created", "/approve", "alice", 1, ""), approval.Open, 1},
		"a reader":                   {comment("created", "/approve", "rita", 3, ""), approval.Open, 1},
		"a stranger":                 {comment("created", "/approve", "eve", 9, ""), approval.Open, 0},
		"a stranger of that login":   {comment("created", "/approve", "bob", 9, ""), approval.Open, 0},
		"edited":                     {comment("edited", "/approve", "bob", 2, ""), approval.Approved, 0},
		"deleted":                    {comment("deleted", "/approve", "bob", 2, ""), approval.Open, 0},
		"a program on their behalf":  {comment("created", "/approve", "bob", 2, `,"performed_via_github_app":{"id":1}`), approval.Open, 0},
		"an App":                     {comment("created", "/approve", "codexk8s[bot]", 2, ""), approval.Open, 0},
		"quoted":                     {comment("created", "> /approve", "bob", 2, ""), approval.Open, 0},
		"in a sentence":              {comment("created", "I would /approve this", "bob", 2, ""), approval.Open, 0},
		"a longer word":              {comment("created", "/approved", "bob", 2, ""), approval.Open, 0},
		"an answer where none fits":  {comment("created", "/answer 2", "bob", 2, ""), approval.Open, 1},
		"a comment on its pull":      {[]byte(strings.Replace(string(comment("created", "/approve", "bob", 2, "")), `"number":1,`, `"number":2,"pull_request":{},`, 1)), approval.Approved, 0},
		"a comment on another issue": {[]byte(strings.Replace(string(comment("created", "/approve", "bob", 2, "")), `"number":1,`, `"number":5,`, 1)), approval.Open, 0},
	} {
		f.sql.Do(`DELETE FROM approvals`)
		r := f.request(nil)
		f.hear(r)
		f.said()
		n++
		payload := strings.NewReplacer("DIGEST", approval.ShortDigest(r), `"id":501`, fmt.Sprintf(`"id":%d`, n)).Replace(string(c.payload))
		if code := f.deliver(events.GitHubType("issue_comment"), []byte(payload)); code != http.StatusAccepted {
			t.Errorf("%s: answered %d", name, code)
		}
		if got, err := f.db.Ticket(t.Context(), r.ID); err != nil || got.State != c.want {
			t.Errorf("%s: it is %s, want %s (%v)", name, got.State, c.want, err)
		}
		if told := strings.Count(fmt.Sprint(f.said()), "approval.refused"); told != c.refused {
			t.Errorf("%s: %d refusals are told, want %d", name, told, c.refused)
		}
	}
}

func TestACommentThatCouldMeanSeveralIsAskedWhich(t *testing.T) {
	f := setup(t, pgtest.New(t))
	first, second := f.request(nil), f.request(func(r *approval.Request) { r.Title, r.Arguments = "Second", json.RawMessage(`{"name":"x"}`) })
	f.hear(first)
	f.hear(second)
	f.said()
	f.deliver(events.GitHubType("issue_comment"), comment("created", "/approve", "bob", 2, ""))
	f.wantSaid("which", "approval.refused")
	f.deliver(events.GitHubType("issue_comment"), []byte(strings.Replace(string(comment("created", "/approve "+approval.ShortDigest(second), "bob", 2, "")), `"id":501`, `"id":502`, 1)))
	f.wantState(first, approval.Open)
	f.wantState(second, approval.Approved)
}

// A comment that names another request by now is about that one alone.
func TestACommentThatIsEditedIsAboutAnother(t *testing.T) {
	f := setup(t, pgtest.New(t))
	f.sql.Do(`UPDATE projects SET settings = '{"approvals":{"rules":[{"actions":["*"],"who":{"roles":["maintainer"]},"deadline":259200000000000,"quorum":2}]}}'`)
	first, second := f.request(nil), f.request(func(r *approval.Request) { r.Title, r.Arguments = "Second", json.RawMessage(`{"name":"x"}`) })
	f.hear(first)
	f.hear(second)
	f.deliver(events.GitHubType("issue_comment"), comment("created", "/approve "+approval.ShortDigest(first), "bob", 2, ""))
	f.deliver(events.GitHubType("issue_comment"), comment("edited", "/approve "+approval.ShortDigest(second), "bob", 2, ""))
	for r, want := range map[string]int{first.ID: 0, second.ID: 1} {
		if got, err := f.db.Ticket(t.Context(), r); err != nil || len(got.Votes) != want {
			t.Errorf("%d votes, want %d (%v)", len(got.Votes), want, err)
		}
	}
}

func TestHostileEvents(t *testing.T) {
	f := setup(t, pgtest.New(t))
	r := f.request(nil)
	f.hear(r)
	hostile.Function{Name: function, Handler: f.server.Handler(), DB: f.db, SQL: f.sql}.Hear(t, func() map[string]string {
		all := hostile.Templates(t, r, vote(r, "slack", "U12", events.Approve, "v"), events.ApprovalDue{RunRef: ref, RequestID: r.ID, Round: 1},
			events.ApprovalDelivered{RequestID: r.ID, Version: 1, ApprovalTarget: events.ApprovalTarget{Channel: "slack"}},
			events.ApprovalUndeliverable{RequestID: r.ID, Version: 1, ApprovalTarget: events.ApprovalTarget{Channel: "slack"}},
			events.RunFinished{RunRef: ref})
		all[events.GitHubType("issue_comment")] = string(comment("created", "/approve", "bob", 2, ""))
		return all
	}())
}
