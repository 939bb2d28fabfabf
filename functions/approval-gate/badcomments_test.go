package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
	"codexk8s.dev/test/grid"
	"codexk8s.dev/test/local/pg/pgtest"
)

// commands are the columns: what a comment says, of which it is the first line.
var commands = []string{"/approve", "/deny", "/answer"}

// A remark is one cell of the table: a request on the issue, and what becomes of comments about it.
type remark struct {
	*fixture
	request approval.Request
	command string // with what belongs behind it
	n       int    // comments so far
	answers sync.Mutex
	status  int // the worst that a webhook was answered with
	audited int // the newest row of the audit before what counts
}

// badComments are the rows: what may be changed about the rule, and what is done. What comes of it is in
// testdata/bad_comments.txt.
var badComments = []struct {
	name string
	rule string // in place of one maintainer's vote
	do   func(*remark)
}{
	{"nothing wrong", "", func(r *remark) { r.says("bob", 2) }},
	{"the same under a new delivery id", "", func(r *remark) { r.says("bob", 2); r.mark(); r.hooked(r.written("bob", 2)) }},
	{"the same, after a mind that changed", twoVotes, func(r *remark) {
		r.says("bob", 2)
		first := r.written("bob", 2)
		other := map[string]events.Choice{"/approve": events.Deny, "/deny": events.Approve}[r.command]
		r.hear(vote(r.request, "mattermost", "m2", other, fmt.Sprint("click-", r.n)))
		r.mark()
		r.hooked(first)
	}},
	{"written before the request", "", func(r *remark) {
		r.pass(-time.Hour)
		old := r.written("bob", 2)
		r.pass(time.Hour)
		r.hooked(old)
	}},
	{"edited into a command", "", func(r *remark) { r.changed("bob", 2, `"action":"created"`, `"action":"edited"`) }},
	{"edited into a command by somebody else", "", func(r *remark) {
		r.changed("bob", 2, `"action":"created"`, `"action":"edited"`, `"sender":{"login":"bob","id":2`, `"sender":{"login":"rita","id":3`)
	}},
	{"as it was before its author took it back", "", func(r *remark) {
		r.n++
		r.edited("never mind", time.Minute)
		r.hooked(r.written("bob", 2))
	}},
	{"as it was before it became another command", "", func(r *remark) {
		r.n++
		r.edited(map[string]string{"/approve": "/deny", "/deny": "/approve", "/answer 2": "/answer 1"}[r.command], time.Minute)
		r.mark()
		r.hooked(r.written("bob", 2))
	}},
	{"taken back once it counted", twoVotes, func(r *remark) { r.says("bob", 2); r.mark(); r.edited("never mind", time.Minute) }},
	{"deleted once it counted", twoVotes, func(r *remark) {
		r.says("bob", 2)
		r.mark()
		r.hooked(replaced(r.Fatalf, r.written("bob", 2), `"action":"created"`, `"action":"deleted"`))
	}},
	{"deleted by somebody else once it counted", twoVotes, func(r *remark) {
		r.says("bob", 2)
		r.mark()
		r.hooked(replaced(r.Fatalf, r.written("bob", 2), `"action":"created"`, `"action":"deleted"`, `"sender":{"login":"bob","id":2`, `"sender":{"login":"rita","id":3`))
	}},
	{"deleted", "", func(r *remark) { r.changed("bob", 2, `"action":"created"`, `"action":"deleted"`) }},
	{"sent in the name of its author", "", func(r *remark) {
		r.changed("bob", 2, `"sender":{"login":"bob","id":2`, `"sender":{"login":"eve","id":9`)
	}},
	{"by who may not decide", "", func(r *remark) { r.says("rita", 3) }},
	{"by a stranger", "", func(r *remark) { r.says("eve", 9) }},
	{"by a stranger who took the login", "", func(r *remark) { r.says("bob", 9) }},
	{"by an account without a number", "", func(r *remark) { r.says("bob", 0) }},
	{"of what one's own run asks", "", func(r *remark) { r.says("alice", 1) }},
	{"by the App", "", func(r *remark) { r.says("codexk8s[bot]", 900) }},
	{"by a program for a person", "", func(r *remark) { r.changed("bob", 2, `"body":`, `"performed_via_github_app":{"id":1},"body":`) }},
	{"two comments that say the same", twoVotes, func(r *remark) { r.says("bob", 2); r.mark(); r.says("bob", 2) }},
	{"a mind that changed", twoVotes, func(r *remark) {
		r.says("bob", 2)
		r.mark()
		r.command = map[string]string{"/approve": "/deny", "/deny": "/approve", "/answer 2": "/answer 1"}[r.command]
		r.says("bob", 2)
	}},
	{"after the deadline", "", func(r *remark) { r.pass(100 * 24 * time.Hour); r.mark(); r.says("bob", 2) }},
	{"after the end of the run", "", func(r *remark) { r.hear(events.RunFinished{RunRef: ref}); r.mark(); r.says("bob", 2) }},
	{"of a superseded request", "", func(r *remark) {
		r.names(approval.ShortDigest(r.request))
		newer := r.request
		newer.HeadSHA = "beef"
		newer, err := approval.Seal(newer)
		if err != nil {
			r.Fatal(err)
		}
		r.hear(newer)
		r.mark()
		r.says("bob", 2)
	}},
	{"of a request that there is not", "", func(r *remark) { r.names("0123456789ab"); r.says("bob", 2) }},
	{"on another issue", "", func(r *remark) { r.changed("bob", 2, `"number":1,`, `"number":5,`) }},
	{"two people at once", "", func(r *remark) {
		var both sync.WaitGroup
		for id, login := range map[int64]string{2: "bob", 4: "carol"} {
			r.n++
			payload := r.written(login, id)
			both.Go(func() { r.hooked(payload) })
		}
		both.Wait()
	}},
	{"quoted", "", func(r *remark) { r.command = "> " + r.command; r.says("bob", 2) }},
	{"below other words", "", func(r *remark) { r.command = "Hm.\n" + r.command; r.says("bob", 2) }},
	{"as long as GitHub takes it", "", func(r *remark) { r.command += "\n" + strings.Repeat("я", 65_000); r.says("bob", 2) }},
	{"a forged signature", "", func(r *remark) { r.sent(r.written("bob", 2), webhook.Sign([]byte("another"), r.written("bob", 2))) }},
	{"no signature", "", func(r *remark) { r.sent(r.written("bob", 2), "") }},
	{"half of it", "", func(r *remark) { p := r.written("bob", 2); r.hooked(p[:len(p)/2]) }},
	{"nothing in it", "", func(r *remark) { r.hooked([]byte("{}")) }},
	{"a list in its place", "", func(r *remark) { r.hooked([]byte("[1]")) }},
	{"nested too deeply", "", func(r *remark) { r.changed("bob", 2, `{"action"`, `{"x":`+nested(20_000)+`,"action"`) }},
	{"a zero byte in it", "", func(r *remark) { r.changed("bob", 2, `{"action"`, "{\x00\"action\"") }},
	{"an escaped zero byte", "", func(r *remark) { r.changed("bob", 2, `","user"`, `\u0000","user"`) }},
	{"no UTF-8", "", func(r *remark) { r.changed("bob", 2, `","user"`, "\xff\xed\xa0\x80\",\"user\"") }},
	{"unknown fields", "", func(r *remark) { r.changed("bob", 2, `{"action"`, `{"new":{"a":[1,{"b":null}]},"action"`) }},
}

const twoVotes = `,"quorum":2,"veto":false`

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// written is the payload of a new comment.
func (r *remark) written(login string, id int64) []byte {
	at := r.now().Truncate(time.Second).Format(time.RFC3339)
	payload := string(comment("created", r.command, login, id, ""))
	payload = strings.ReplaceAll(payload, "2031-05-06T07:08:09Z", at)
	return []byte(strings.Replace(payload, `"id":501`, fmt.Sprintf(`"id":%d`, 1000+r.n), 1))
}

// names puts a digest behind the command's first word.
func (r *remark) names(digest string) {
	word, rest, _ := strings.Cut(r.command, " ")
	r.command = strings.TrimSpace(word + " " + digest + " " + rest)
}

// says has somebody write a comment.
func (r *remark) says(login string, id int64) {
	r.Helper()
	r.n++
	r.hooked(r.written(login, id))
}

// changed has somebody write a comment, of which something is another: old and new by turns.
func (r *remark) changed(login string, id int64, others ...string) {
	r.Helper()
	r.hooked(replaced(r.Fatalf, r.written(login, id), others...))
}

func replaced(fatal func(string, ...any), payload []byte, others ...string) []byte {
	text := string(payload)
	for i := 0; i < len(others); i += 2 {
		if !strings.Contains(text, others[i]) {
			fatal("%s is not in %s", others[i], text)
		}
		text = strings.Replace(text, others[i], others[i+1], 1)
	}
	return []byte(text)
}

// edited has bob edit his comment, a while after he has written it.
func (r *remark) edited(body string, later time.Duration) {
	r.Helper()
	was := r.command
	r.command = body
	r.pass(later)
	payload := r.written("bob", 2)
	r.pass(-later)
	r.command = was
	r.hooked(replaced(r.Fatalf, payload, `"action":"created"`, `"action":"edited"`))
}

func (r *remark) hooked(payload []byte) {
	r.Helper()
	r.sent(payload, webhook.Sign([]byte("hook"), payload))
}

// sent takes a webhook as webhook-adapter does, and hears it.
func (r *remark) sent(payload []byte, signature string) {
	r.Helper()
	if err := (webhook.Secrets{[]byte("hook")}).Verify(signature, payload); err != nil {
		r.answered(http.StatusUnauthorized)
		return
	}
	d, err := webhook.Classify("issue_comment", "guid", payload)
	if err != nil {
		r.answered(http.StatusBadRequest)
		return
	}
	e := d.CloudEvent(payload, r.now())
	r.answered(r.deliver(e.Type(), e.Data()))
}

// answered keeps the worst of the answers.
func (r *remark) answered(status int) {
	r.answers.Lock()
	defer r.answers.Unlock()
	r.status = max(r.status, status)
}

// mark says that what counts comes now.
func (r *remark) mark() {
	r.said()
	r.audited = pgtest.One[int](r.sql, `SELECT coalesce(max(seq), 0) FROM audit`)
}

// outcome is what came of it, as the table has it: the status if it is not 202, and what the audit says.
func (r *remark) outcome(row string) string {
	r.Helper()
	told := map[string]string{} // by reason
	for _, e := range r.heardOf() {
		told[e.Reason] += e.Text
	}
	var words []string
	for _, line := range r.sql.Lines(`SELECT trim(action || ' ' || reason) FROM audit WHERE seq > $1 AND action LIKE 'vote.%' ORDER BY action`, r.audited) {
		action, why, _ := strings.Cut(line, " ")
		switch {
		case action != "vote.refused":
			words = append(words, cmp.Or(why, strings.TrimPrefix(action, "vote.")))
		case told[why] == "":
			words = append(words, why+", untold")
		default:
			words = append(words, why)
		}
	}
	out := cmp.Or(strings.Join(words, " + "), "nothing")
	if r.status != http.StatusAccepted {
		out = fmt.Sprintf("%d %s", r.status, out)
	}
	return out
}

// heardOf is what people were told since the mark.
func (f *fixture) heardOf() (all []events.ApprovalRefused) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.sent {
		var r events.ApprovalRefused
		if e.Type() == r.EventType() && e.DataAs(&r) == nil {
			all = append(all, r)
		}
	}
	return all
}

// remark asks something new.
func (f *fixture) remark(n int, command, rule string) *remark {
	f.Helper()
	f.sql.Do(`DELETE FROM approvals`)
	f.sql.Do(`UPDATE projects SET settings = $1`, `{"approvals":{"rules":[{"actions":["*"],"who":{"roles":["maintainer"]},"deadline":259200000000000`+rule+`}]}}`)
	r := &remark{fixture: f, command: command, n: 100 * n}
	r.request = f.request(func(q *approval.Request) {
		q.Arguments = fmt.Appendf(nil, `{"n":%d}`, n)
		if command == "/answer" {
			q.Kind, q.Action, q.Title, q.Options = events.KindQuestion, "question", fmt.Sprintf("Which database, of %d?", n), []string{"Postgres", "SQLite"}
			r.command = "/answer 2"
		}
	})
	if code := f.hear(r.request); code != http.StatusAccepted {
		f.Fatalf("the request is answered %d", code)
	}
	r.mark()
	return r
}

// TestBadComments: each bad input is refused or counts for nothing, the audit has it, and who may know it is told why.
func TestBadComments(t *testing.T) {
	f := setup(t, pgtest.New(t))
	f.sql.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('demo', 'carol', 'maintainer', 4), ('demo', 'codexk8s[bot]', 'owner', 900)`)
	f.sql.Do(`INSERT INTO chat_accounts (channel, account, github_id, login, linked_at) VALUES ('mattermost', 'm2', 2, 'bob', now())`)
	file, err := os.ReadFile("testdata/bad_comments.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, rest := grid.Parse(string(file))
	got := grid.Grid{append([]string{""}, commands...)}
	for n, row := range badComments {
		cells := []string{row.name}
		for i, command := range commands {
			if cell := want.Cell(row.name, i); cell == "-" {
				cells = append(cells, cell)
				continue
			}
			r := f.remark(len(commands)*n+i, command, row.rule)
			row.do(r)
			cells = append(cells, r.outcome(row.name))
		}
		got = append(got, cells)
	}
	if diff := gocmp.Diff(string(file), got.String()+rest); diff != "" {
		t.Errorf("testdata/bad_comments.txt (-want +got):\n%s\nthe table is\n%s", diff, got)
	}
}
