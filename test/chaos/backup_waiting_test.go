package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
)

// TestABackupBringsRunsBackThatWait restores a backup while runs wait for people:
//
//	issue 1   has asked before the backup, is answered and finished after it: it is open again
//	issue 2   at work at the backup, asks after it: it asks once more, and is answered
//	issue 3   asked and was answered before the backup, at work at it: its answer is known
//
// Each ends with one pull request that has its answer in it.
func TestABackupBringsRunsBackThatWait(t *testing.T) {
	w := start(t, 0, 1)
	for n := range 3 {
		w.openAsking(n + 1)
	}
	normal, busy := model.Behaviour{}, model.Behaviour{Mode: model.Overloaded, RetryAfter: time.Second}
	dump := filepath.Join(t.TempDir(), "codexk8s.dump")

	w.stack.Model.Behave(normal)
	w.run(1)
	w.run(3)
	w.awaitWaiting(1)
	w.awaitWaiting(3)
	w.stack.Model.Behave(busy)
	w.click(3)
	w.awaitAtWork(3)
	w.run(2)
	w.awaitAtWork(2)
	w.backup(dump)
	w.stack.Model.Behave(normal)
	w.awaitWaiting(2)
	w.click(1)
	w.awaitGood(1, 3)

	w.lose()
	w.restore(dump)
	w.age(20 * time.Minute)
	w.eventually("what the database has lost is done again", func(context.Context) error {
		w.passChecks()
		w.compareWithGitHub()
		if p := w.problems()[w.issues[2]]; p != "" {
			return errors.New(p)
		}
		return w.waiting(2)
	})
	if err := w.waiting(1); err != nil {
		t.Error(err)
	}
	w.click(2)
	// Its message shows the answer that is lost, and has no buttons until the next reminder.
	if _, err := w.stack.GitHub.Comment(stack.Repository, w.issues[0], "/answer 2", stack.Owner); err != nil {
		t.Fatal(err)
	}
	want := w.wants[w.issues[0]]
	want.Comments = append(want.Comments, stack.Owner+": /answer 2")
	w.wants[w.issues[0]] = want
	w.settleRestored()
	for n, issue := range w.issues {
		page, err := w.stack.GitHub.File(stack.Repository, fmt.Sprintf("codexk8s/issue-%d", issue), fmt.Sprintf("page-%d.md", n+1))
		if err != nil || !strings.Contains(page, "Salut") {
			t.Errorf("issue %d has made %q, %v", issue, page, err)
		}
	}
	w.passTimers(t.Context(), 3*time.Hour) // reminders are further away than what drainTimers lets pass
	w.drainTimers()
	w.verifyAudit()
	w.noDeadLetters()
}

// openAsking opens an issue whose agent asks before it does anything.
func (w *world) openAsking(n int) {
	w.t.Helper()
	issue, err := w.stack.GitHub.CreateIssue(stack.Repository, fmt.Sprintf("Page %d", n), "Write it.\n\n"+"Ask first: "+words(n)+" Bonjour | Salut", stack.Owner)
	if err != nil {
		w.t.Fatal(err)
	}
	w.issues = append(w.issues, issue)
	want := good
	want.Comments = append(slices.Clip(want.Comments), "codexk8s[bot]: **✅ Answered**: `"+words(n)+"`")
	w.wants[issue] = want
}

// words are what the agent of an asking issue asks.
func words(n int) string { return fmt.Sprintf("Which words for page %d?", n) }

// waiting says why the issue's run doesn't wait for people, without a Job.
func (w *world) waiting(issue int) error {
	var state string
	var over bool
	err := w.db.QueryRow(w.t.Context(), `SELECT state, job_over FROM runs WHERE issue = $1`, w.issues[issue-1]).Scan(&state, &over)
	if err == nil && (state != "waiting" || !over) {
		err = fmt.Errorf("the run of issue %d is %s, its Job over: %t", w.issues[issue-1], state, over)
	}
	return err
}

func (w *world) awaitWaiting(issue int) {
	w.t.Helper()
	w.eventually("a run that waits", func(context.Context) error { return w.waiting(issue) })
}

// click answers what the issue's agent has asked, in its newest message that has buttons.
func (w *world) click(issue int) {
	w.t.Helper()
	w.eventually("an answer in Telegram", func(ctx context.Context) error {
		var open *fakechat.Post
		for _, p := range w.stack.Chat.Posts(fakechat.Telegram) {
			if strings.Contains(p.Text, words(issue)) && len(p.Buttons) > 0 {
				open = &p
			}
		}
		if open == nil {
			return errors.New("no message has buttons")
		}
		_, err := w.stack.Chat.Click(ctx, *open, "Salut", stack.Owner)
		return err
	})
}
