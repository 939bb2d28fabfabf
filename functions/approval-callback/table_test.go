package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/approval/contract"
	"codexk8s.dev/shared/events"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/grid"
	"codexk8s.dev/test/local/pg/pgtest"
)

// attempt asks something new in one place.
func (f *fixture) attempt(c column, name string, change func(*approval.Request, *approval.Terms)) *attempt {
	f.Helper()
	arguments, _ := json.Marshal(object{"name": name})
	r := approval.Request{
		RunRef: ref, Kind: events.KindApproval, Stage: "dev", Role: "dev", Action: "tool:secret_sync", Title: "Write the secret db",
		Arguments: arguments, RequestedBy: events.GitHubAccount{Login: "zoe", ID: 9}, At: f.db.Now(),
	}
	if c.question {
		r.Kind, r.Action, r.Title, r.Options = events.KindQuestion, "question", "Which database?", []string{"Postgres", "SQLite"}
	}
	terms := approval.Terms{Lang: "en", Who: approval.Who{Roles: []string{"maintainer"}, Approvers: []string{"signed"}}, Quorum: 1, Veto: true, Deadline: time.Hour}
	if change != nil {
		change(&r, &terms)
	}
	f.wire.before, f.wire.signed, f.handler.notes = nil, nil, notes{}
	f.show(r, terms, map[string]string{c.channel: c.target})
	a := &attempt{fixture: f, column: c}
	a.newest()
	return a
}

// linked makes the accounts of one of the fakes' people those of a login.
func (f *fixture) linked(person, login string, id int64) {
	f.Helper()
	f.sql.Do(`
		INSERT INTO chat_accounts (channel, account, github_id, login, linked_at)
		SELECT channel, replace(account, '11', $1), $2, $3, now()
		FROM chat_accounts
		WHERE login = 'ann'
	`, map[string]string{"eve": "13", "cat": "14"}[person], id, login)
}

// newest has the attempt be about what was posted last.
func (a *attempt) newest() {
	for _, p := range a.fake.Posts(inFake(a.channel)) {
		if p.By == "bot" && len(p.Buttons) > 0 {
			a.post = p
		}
	}
}

// mark says that what counts comes now.
func (a *attempt) mark() {
	a.audited = pgtest.One[int](a.sql, `SELECT coalesce(max(seq), 0) FROM audit`)
	a.told = len(a.heard())
}

// heard is what people were told in the channel.
func (a *attempt) heard() (all []string) {
	for _, t := range a.fake.Told(inFake(a.channel)) {
		all = append(all, t.Text)
	}
	if a.channel == approval.Jira {
		for _, p := range a.fake.Posts(a.channel) {
			all = append(all, p.Text)
		}
	}
	return all
}

func (a *attempt) vote(person string) { a.Helper(); a.mark(); a.act(a.Context(), a.post, person, true) }
func (a *attempt) deny(person string) {
	a.Helper()
	a.mark()
	a.act(a.Context(), a.post, person, false)
}

// act says yes or no, or of a question the first option or the second.
func (a *attempt) act(ctx context.Context, post fakechat.Post, person string, yes bool) {
	a.Helper()
	words := map[string][2]string{"jira": {"Rejected", "Approved"}, "jira comment": {"/deny", "/approve"}, "executor": {"2.", "1."}}[a.name]
	if words == [2]string{} {
		words = [2]string{"Deny", "Approve"}
	}
	say := words[0]
	if yes {
		say = words[1]
	}
	var err error
	if a.name == "jira comment" {
		_, err = a.fake.Reply(ctx, a.channel, post.Chat, "", say, person)
	} else {
		_, err = a.fake.Click(ctx, post, say, person)
	}
	if err != nil {
		a.Errorf("%s: %v", a.name, err)
	}
}

// once more: an approver that has answered is asked again, as by a reminder. Elsewhere the same message serves.
func (a *attempt) once() {
	a.Helper()
	if a.channel != approval.HTTP {
		return
	}
	if _, err := a.channels[a.channel].Post(a.Context(), a.target, a.ticket.Message()); err != nil {
		a.Fatal(err)
	}
	a.newest()
}

// again sends the last callback once more, changed.
func (a *attempt) again(change func(*letter)) {
	a.Helper()
	a.mark()
	l := a.wire.last
	if change != nil {
		change(&l)
		l.sign("fake-secret", time.Now())
	}
	if _, err := a.wire.send(a.Context(), l); err != nil {
		a.Fatal(err)
	}
}

// changed votes with a callback whose text is another one.
func (a *attempt) changed(do func(string) string) {
	a.wire.before = func(l *letter) { l.rewrite(do) }
	a.vote("ann")
}

// end ends the request before anybody votes.
func (a *attempt) end(in approval.Input) {
	a.Helper()
	var err error
	if a.ticket, _, err = approval.Decide(a.ticket, in, a.db.Now()); err != nil {
		a.Fatal(err)
	}
	a.save()
}

// twoAtOnce lets two people click at the same instant, or two attempts of an approver. Both may be thanked before it is
// known who was first, so nobody is told here: the message shows who decided.
func (a *attempt) twoAtOnce(people ...string) {
	a.Helper()
	first := a.post
	a.once()
	a.mark()
	var both sync.WaitGroup
	for i, person := range people {
		both.Go(func() { a.act(a.Context(), []fakechat.Post{first, a.post}[i], person, true) })
	}
	both.Wait()
	a.quiet, a.wire.status = true, http.StatusOK
}

// elsewhere has a callback come from a place where the request is not shown.
func (a *attempt) elsewhere(l *letter) {
	l.url = strings.Replace(l.url, "/signed/", "/mail/", 1)
	l.rewrite(strings.NewReplacer(`"chat":{"id":-1001,`, `"chat":{"id":-1002,`, `"channel_id":"C1"`, `"channel_id":"C2"`,
		`"channel_id":"abcdefghijklmnopqrstuvwx12"`, `"channel_id":"abcdefghijklmnopqrstuvwx13"`, `"key":"`+a.post.Chat+`"`, `"key":"OPS-99"`).Replace)
}

// inside is an address that nobody may be led to.
func (a *attempt) inside() string {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { a.Errorf("%s was called", r.URL) }))
	a.Cleanup(server.Close)
	return server.URL
}

// outcome is what came of it, as the table has it: the status if it is not 200, and what the audit says.
func (a *attempt) outcome(row string) string {
	a.Helper()
	said := strings.Join(a.heard()[a.told:], "\n")
	if a.channel == approval.HTTP {
		said = a.wire.said
	}
	rows := a.sql.Lines(`SELECT trim(action || ' ' || reason) FROM audit WHERE seq > $1 AND (action LIKE 'vote.%' OR action LIKE 'callback.%') ORDER BY action`, a.audited)
	var words []string
	for _, r := range rows {
		action, reason, _ := strings.Cut(r, " ")
		if reason == "" {
			words = append(words, strings.TrimPrefix(action, "vote."))
			continue
		}
		words = append(words, reason)
		told := ""
		switch action {
		case "vote.refused":
			told = a.ticket.Refusal(reason)
		case "callback.ignored":
			told, _, _ = strings.Cut(hints[reason], "\n")
		case "callback.refused":
			if a.channel == approval.HTTP {
				told = `"reason":"` + reason + `"`
			}
		}
		if action == "vote.refused" && told == "" || !a.quiet && !strings.Contains(flat(said), flat(told)) {
			a.Errorf("%s in %s: %s, and who did it is told %q, want %q", row, a.name, r, said, told)
		}
	}
	if a.channel == approval.HTTP {
		a.fitsContract()
	}
	out := strings.Join(words, " + ")
	if out == "" {
		out = "nothing"
	}
	if a.wire.status != http.StatusOK {
		out = fmt.Sprintf("%d %s", a.wire.status, out)
	}
	return out
}

// fitsContract holds the answer to an HTTP approver against what the contract says of it.
func (a *attempt) fitsContract() {
	a.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(contract.JSON()))
	if err != nil {
		a.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("contract.json", document); err != nil {
		a.Fatal(err)
	}
	answer, err := jsonschema.UnmarshalJSON(strings.NewReader(a.wire.said))
	if err == nil {
		err = c.MustCompile("contract.json#/components/schemas/CallbackAnswer").Validate(answer)
	}
	if err != nil {
		a.Errorf("an answer of %d is %s: %v", a.wire.status, a.wire.said, err)
	}
}

// flat is a text as chats show it: their own white space, and no markup.
func flat(text string) string {
	var plain string
	if json.Unmarshal([]byte(`"`+text+`"`), &plain) == nil {
		text = plain
	}
	return strings.Join(strings.Fields(text), " ")
}

// head is that of the table.
func head() grid.Grid {
	head := []string{""}
	for _, c := range columns {
		head = append(head, c.name)
	}
	return grid.Grid{head}
}
