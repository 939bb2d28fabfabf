package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/stack"
)

// A question is one story: an issue whose agent asks it.
type question struct {
	*world
	t      *testing.T
	issue  int
	words  string
	doubts bool // it may stand twice where one can't ask, see unasked
}

// story plays one question and reports whether the function died in it.
func (w *world) story(t *testing.T, name string, g *gate, at cut) (died bool) {
	t.Helper()
	if _, err := w.stack.Platform.Kill(name); err != nil { // so that its start is part of each story
		t.Fatal(err)
	}
	began := time.Now()
	g.wait(at)
	defer g.wait(cut{})
	q := w.ask(t)
	q.doubts = name == "approval-notifier"
	q.until("the run waits, its Job is over, and the question is in every chat", func() string {
		if runs := q.lines(`SELECT state FROM runs WHERE issue = $1 AND job_over`, q.issue); !slices.Equal(runs, []string{"waiting"}) {
			return fmt.Sprintf("runs without a Job: %v", runs)
		}
		for _, channel := range places {
			if len(q.posts(channel)) == 0 {
				return "nothing in " + channel
			}
		}
		return ""
	})
	q.until("somebody clicks, and is heard", q.click)
	q.until("all is as it should be", q.problem)
	died = g.died()
	t.Logf("step %d, after it: %t, died: %t, %s", at.step, at.after, died, round(time.Since(began)))
	if t.Failed() {
		t.Log(w.timeline(q.issue))
	}
	return died
}

// ask opens and labels an issue whose agent asks.
func (w *world) ask(t *testing.T) *question {
	t.Helper()
	w.asked++
	title := fmt.Sprintf("Page %d", w.asked)
	q := &question{world: w, t: t, words: "Which words for " + title + "?"}
	var err error
	if q.issue, err = w.stack.GitHub.CreateIssue(stack.Repository, title, "Write it.\n\nAsk first: "+q.words+" Bonjour | Salut", stack.Owner); err != nil {
		t.Fatal(err)
	}
	want := good
	want.Comments = append(slices.Clone(good.Comments), "codexk8s[bot]: **✅ Answered**: `"+q.words+"`")
	w.issues, w.wants = []int{q.issue}, map[int]outcome{q.issue: want}
	if err := w.stack.GitHub.AddLabel(stack.Repository, q.issue, stack.LabelDev, stack.Owner); err != nil {
		t.Fatal(err)
	}
	return q
}

// firstNudge is before the first look for what may be lost: longer than the Broker's first pause and a function's
// start.
const firstNudge = 400 * time.Millisecond

// until asks until nothing is missing, and lets time pass for what may be lost: less and less often, because what is
// sent again is work, and on a busy machine no step would be the last.
func (q *question) until(what string, missing func() string) {
	q.t.Helper()
	began, pause := time.Now(), firstNudge
	for nudge := began.Add(pause); !q.t.Failed(); time.Sleep(20 * time.Millisecond) {
		m := missing()
		if m == "" {
			return
		}
		if time.Since(began) > 5*patience { // a machine may be busy
			q.t.Errorf("%s: %s", what, m)
		}
		if time.Now().After(nudge) {
			if err := q.pass(q.t.Context(), time.Minute); err != nil {
				q.t.Fatal(err)
			}
			q.tick(q.t.Context())
			pause *= 2
			nudge = time.Now().Add(pause)
		}
	}
}

// click clicks on the newest message in Telegram, unless a click before, whose answer was lost, has decided.
func (q *question) click() (problem string) {
	posts := q.posts(fakechat.Telegram)
	newest := posts[len(posts)-1]
	if len(newest.Buttons) == 0 {
		return ""
	}
	said, err := q.stack.Chat.Click(q.t.Context(), newest, "Salut", stack.Owner)
	if err != nil {
		return err.Error()
	}
	if said.Status != 200 {
		return fmt.Sprintf("answered %d", said.Status)
	}
	return ""
}

// places are where the question is shown, beside its issue.
var places = []string{fakechat.Telegram, fakechat.Slack, fakechat.Mattermost, fakechat.Jira, fakechat.Approver}

// posts are the messages of a chat with the question.
func (q *question) posts(channel string) []fakechat.Post {
	return slices.DeleteFunc(q.stack.Chat.Posts(channel), func(p fakechat.Post) bool { return !strings.Contains(p.Text, q.words) })
}

// answered is what becomes of a question, beside what becomes of its issue.
type answered struct {
	Runs, Requests, Events []string
	Shown                  map[string][]string
}

// problem is how the question differs from one to which nothing has happened.
func (q *question) problem() string {
	got := answered{
		Runs:     q.lines(`SELECT state, attempt FROM runs WHERE issue = $1`, q.issue),
		Requests: q.lines(`SELECT a.state, json_array_length(a.ticket -> 'votes') FROM approvals a JOIN runs r ON r.id = a.run_id WHERE r.issue = $1`, q.issue),
		Events: q.lines(`
			SELECT substr(type, 14), count(*)
			FROM events
			WHERE correlation = $1 AND type IN ('dev.codexk8s.approval.requested', 'dev.codexk8s.approval.decided', 'dev.codexk8s.agent.requested')
			GROUP BY type
			ORDER BY type`, fmt.Sprintf("%s#%d", stack.Repository, q.issue)),
		Shown: map[string][]string{},
	}
	if !slices.Equal(got.Runs, []string{"succeeded  1"}) { // before all that takes longer to look at
		return fmt.Sprintf("the runs are %q", got.Runs)
	}
	for _, channel := range places {
		got.Shown[channel] = q.shown(channel)
	}
	by := "Answered by " + stack.Owner
	want := answered{
		Runs: []string{"succeeded  1"}, Requests: []string{string(approval.Answered) + "  1"},
		Events: []string{"agent.requested  2", "approval.decided  1", "approval.requested  1"},
		Shown: map[string][]string{
			fakechat.Telegram: {by}, fakechat.Slack: {by}, fakechat.Mattermost: {by}, fakechat.Jira: {by}, fakechat.Approver: {by},
		},
	}
	diff := cmp.Diff(want, got)
	if diff == "" {
		diff = q.problems()[q.issue]
	}
	return diff
}

// unasked can't be asked whether a message is there. Who dies between posting and recording posts a second one there,
// and the older one stays as it was.
var unasked = []string{fakechat.Telegram, fakechat.Approver}

// shown are the messages of a chat, as what they say of the outcome.
func (q *question) shown(channel string) (all []string) {
	for _, p := range q.posts(channel) {
		says := "open"
		if by := "Answered by " + stack.Owner; strings.Contains(p.Text, by) {
			says = by
		}
		all = append(all, says)
	}
	if q.doubts && slices.Contains(unasked, channel) && len(all) == 2 && all[0] == "open" {
		all = all[1:]
	}
	return all
}

func (q *question) lines(query string, args ...any) []string {
	q.t.Helper()
	rows, err := q.db.Query(q.t.Context(), query, args...)
	if err != nil {
		q.t.Fatal(err)
	}
	lines, err := texts(rows)
	if err != nil {
		q.t.Fatal(err)
	}
	return lines
}
