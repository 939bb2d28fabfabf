package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/store"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/grid"
)

// A column is a way to vote.
type column struct {
	name, channel, target string
	question              bool
}

var columns = []column{
	{"telegram", approval.Telegram, "-1001", false}, {"slack", approval.Slack, "C1", false}, {"mattermost", approval.Mattermost, "abcdefghijklmnopqrstuvwx12", false},
	{"jira", approval.Jira, "OPS/Task", false}, {"jira comment", approval.Jira, "OPS/Task", false},
	{"approver", approval.HTTP, "signed", false}, {"executor", approval.HTTP, "signed", true},
}

// An attempt is one cell of the table: a request that is shown in one place, and what is done there.
type attempt struct {
	*fixture
	column
	post    fakechat.Post
	quiet   bool // who acted can't be told
	audited int  // the newest row of the audit before what counts
	told    int  // how much was told before
}

// badInputs are the rows: what may be changed about the request, and what is done. What comes of it is in
// testdata/bad_input.txt, "-" where a channel knows no such thing.
var badInputs = []struct {
	name   string
	change func(*approval.Request, *approval.Terms)
	do     func(*attempt)
}{
	{"nothing wrong", nil, func(a *attempt) { a.vote("ann") }},
	{"the callback again", nil, func(a *attempt) { a.vote("ann"); a.again(nil) }},
	{"again, with another choice", nil, func(a *attempt) {
		a.vote("ann")
		a.again(func(l *letter) {
			l.rewrite(strings.NewReplacer(`"approve"`, `"deny"`, `"selected_index":0`, `"selected_index":1`).Replace)
		})
	}},
	{"another option's words", nil, func(a *attempt) {
		a.changed(strings.NewReplacer(`"selected_option":"Postgres"`, `"selected_option":"SQLite"`).Replace)
	}},
	{"the same vote twice", two, func(a *attempt) { a.vote("ann"); a.once(); a.vote("ann") }},
	{"a mind that changed", two, func(a *attempt) { a.vote("ann"); a.once(); a.deny("ann") }},
	{"after the deadline", nil, func(a *attempt) { a.ticket.Expires = a.db.Now().Add(-time.Second); a.save(); a.vote("ann") }},
	{"after the end of the run", nil, func(a *attempt) { a.end(approval.RunOver{}); a.vote("ann") }},
	{"of a superseded request", nil, func(a *attempt) { a.end(approval.Replaced{}); a.vote("ann") }},
	{"two people at once", nil, func(a *attempt) { a.twoAtOnce("ann", "cat") }},
	{"from another chat", nil, func(a *attempt) { a.wire.before = a.elsewhere; a.vote("ann") }},
	{"by who may not decide", nobody, func(a *attempt) { a.vote("bob") }},
	{"by an unlinked account", nil, func(a *attempt) { a.vote("eve") }},
	{"of what one's own run asks", own, func(a *attempt) { a.vote("ann") }},
	{"by a program", nil, func(a *attempt) {
		a.quiet = a.channel == approval.Jira // where it might answer
		a.wire.before = func(l *letter) {
			l.rewrite(strings.NewReplacer(`"is_bot":false`, `"is_bot":true`, `"accountType":"atlassian"`, `"accountType":"app"`).Replace)
		}
		a.vote("ann")
	}},
	{"by a program's account", nil, func(a *attempt) {
		a.linked("eve", "robot[bot]", 900)
		a.vote("eve")
		a.sql.Do(`DELETE FROM chat_accounts WHERE github_id = 900`)
	}},
	{"a forged signature", nil, func(a *attempt) {
		a.wire.signed = func(l *letter) {
			if l.sign("another secret", time.Now()); a.channel == approval.Mattermost {
				l.edit(func(o object) { o["context"] = object{"tag": strings.Repeat("A", 48)} })
			}
		}
		a.vote("ann")
	}},
	{"no signature", nil, func(a *attempt) { a.wire.signed = (*letter).unsign; a.vote("ann") }},
	{"with an agent's run token", nil, func(a *attempt) {
		token, err := runtoken.Mint(bytes.Repeat([]byte("k"), 32), runtoken.Claims{
			RunID: ref.RunID, Namespace: "codexk8s-run-1", ServiceAccount: "agent", Expires: time.Now().Add(time.Hour),
		})
		if err != nil {
			a.Fatal(err)
		}
		a.wire.signed = func(l *letter) {
			l.unsign()
			l.header.Set("Authorization", "Bearer "+token)
			if l.sign(token, time.Now()); a.channel == approval.Mattermost {
				l.edit(func(o object) { o["context"] = object{"tag": token} })
			}
		}
		a.vote("ann")
	}},
	{"a stale timestamp", nil, func(a *attempt) {
		old := time.Now().Add(-25 * time.Hour)
		a.wire.before = func(l *letter) {
			if a.channel == approval.Jira {
				l.edit(func(o object) { o["timestamp"] = old.UnixMilli() })
			}
		}
		a.wire.signed = func(l *letter) { l.sign("fake-secret", old) }
		a.vote("ann")
	}},
	{"an address in our networks", nil, func(a *attempt) {
		a.quiet = true
		a.wire.before = func(l *letter) { l.edit(func(o object) { o["response_url"] = a.inside() }) }
		a.vote("eve")
	}},
	{"more than 4 MiB", nil, func(a *attempt) {
		a.wire.before = func(l *letter) { l.body = append(l.body, strings.Repeat(" ", chat.MaxCallback)...) }
		a.vote("ann")
	}},
	{"half of it", nil, func(a *attempt) { a.changed(func(text string) string { return text[:len(text)/2] }) }},
	{"nothing in it", nil, func(a *attempt) { a.changed(func(string) string { return "{}" }) }},
	{"a list in its place", nil, func(a *attempt) { a.changed(func(string) string { return "[1]" }) }},
	{"nested too deeply", nil, func(a *attempt) {
		a.changed(func(text string) string { return `{"x":` + nested(20_000) + "," + text[1:] })
	}},
	{"nested deeply", nil, func(a *attempt) {
		a.changed(func(text string) string { return `{"x":` + nested(5_000) + "," + text[1:] })
	}},
	{"a zero byte in it", nil, func(a *attempt) { a.changed(func(text string) string { return text[:1] + "\x00" + text[1:] }) }},
	{"an escaped zero byte", nil, func(a *attempt) {
		a.changed(func(text string) string {
			return `{"\u0000x":"\u0000",` + strings.ReplaceAll(text[1:], `"ann"`, `"a\u0000nn"`)
		})
	}},
	{"no UTF-8", nil, func(a *attempt) {
		a.changed(func(text string) string {
			return "{\"\xff\":\"\xed\xa0\x80\"," + strings.ReplaceAll(text[1:], `"ann"`, "\"a\xffnn\"")
		})
	}},
	{"unknown fields", nil, func(a *attempt) {
		a.changed(func(text string) string { return `{"new":{"a":[1,{"b":null}]},"version":2,` + text[1:] })
	}},
	{"an unknown word", nil, func(a *attempt) {
		a.changed(strings.NewReplacer(`"approve"`, `"maybe"`, `"success"`, `"done"`, `"Approved"`, `"Perhaps"`, `"/approve"`, `"/perhaps"`).Replace)
	}},
}

func two(_ *approval.Request, t *approval.Terms) { t.Quorum, t.Veto = 2, false }

func own(r *approval.Request, _ *approval.Terms) {
	r.RequestedBy = events.GitHubAccount{Login: "ann", ID: 11}
}

// nobody lets only others decide, so that neither bob nor the approver may.
func nobody(_ *approval.Request, t *approval.Terms) { t.Who.Approvers = []string{"desk"} }

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// TestBadInput: each bad input is refused, or counts for nothing, on every channel: who sent it is told why, where the
// channel can tell them, and the audit has it.
func TestBadInput(t *testing.T) {
	log := logged(t)
	f := setup(t)
	gate, err := store.Open(t.Context(), "approval-gate", f.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close(t.Context()) })
	f.handler.send = f.decide(gate)
	f.sql.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('demo', 'cat', 'maintainer', 14), ('demo', 'robot[bot]', 'owner', 900)`)
	f.linked("cat", "cat", 14)
	file, err := os.ReadFile("testdata/bad_input.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, rest := grid.Parse(string(file))
	got := head()
	for n, row := range badInputs {
		cells := []string{row.name}
		for i, c := range columns {
			if cell := want.Cell(row.name, i); cell == "-" {
				cells = append(cells, cell)
				continue
			}
			a := f.attempt(c, fmt.Sprint(n, c.name), row.change)
			row.do(a)
			cells = append(cells, a.outcome(row.name))
		}
		got = append(got, cells)
	}
	if diff := cmp.Diff(string(file), got.String()+rest); diff != "" {
		t.Errorf("testdata/bad_input.txt (-want +got):\n%s\nthe table is\n%s", diff, got)
	}
	f.keepsNoSecret(log.String())
}

// A reply or a form that is older than it may be is not taken, and its author learns it: their words are lost.
func TestAFormThatIsOld(t *testing.T) {
	f := setup(t)
	reply := func(channel string) {
		if _, err := f.fake.Fill(t.Context(), channel, "too risky", "ann"); err != nil {
			t.Error(err)
		}
	}
	for channel, do := range map[string]func(){
		approval.Telegram: func() {
			f.wire.before = func(l *letter) {
				l.rewrite(func(text string) string { return date.ReplaceAllString(text, `"date":1000000000`) })
			}
			posts := f.fake.Posts(approval.Telegram)
			if _, err := f.fake.Reply(t.Context(), approval.Telegram, posts[0].Chat, posts[len(posts)-1].ID, "too risky", "ann"); err != nil {
				t.Error(err)
			}
		},
		approval.Mattermost: func() {
			f.db.SetClock(func() time.Time { return time.Now().Add(2 * time.Hour) })
			reply(approval.Mattermost)
		},
	} {
		f.wire.before = nil
		f.db.SetClock(time.Now)
		f.click(channel, "reason", "ann")
		do()
		told := fmt.Sprint(f.fake.Told(channel), f.fake.Posts(channel))
		if n := len(f.votes()); n > 0 || !strings.Contains(told, "Too late: this form") {
			t.Errorf("%s: %d votes, told %s", channel, n, told)
		}
	}
}

var date = regexp.MustCompile(`"date":\d+`)
