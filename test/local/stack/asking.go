package stack

import (
	"context"
	"fmt"
	"strings"

	fakechat "codexk8s.dev/test/fakes/chat"
)

// What the agent of the second demonstration wants to have made, first under a name that people refuse, and what they
// say to that.
const (
	tooMuch   = "admin-key"
	enough    = "session-key"
	noBecause = "Nothing here needs more than a key for sessions."
	askLeave  = "The greeting is kept in a session.\n\n" +
		`Use first: secret_sync {"name":"` + tooMuch + `","justification":"The tests need a key."}` + "\n" +
		`Use first: secret_sync {"name":"` + enough + `","justification":"The tests need a key."}`
)

// chats are those that the demonstration looks at.
var chats = []string{fakechat.Telegram, fakechat.Slack, fakechat.Approver}

// PlayApproval plays the demonstration of an agent that asks: people say no in one chat, the agent asks for less, they
// say yes in another, the platform does it, and the same conversation goes on to its pull request. No pod waits for
// people meanwhile, and the chats show who decided. say is told of each step.
func (s *Stack) PlayApproval(ctx context.Context, say func(format string, args ...any)) (End, error) {
	story := s.story()
	issue, err := s.GitHub.CreateIssue(Repository, IssueTitle, askLeave, Owner)
	if err != nil {
		return End{}, fmt.Errorf("opening the issue: %w", err)
	}
	story.Issue = issue
	say("%s labels %s#%d %q with %s", Owner, Repository, issue, IssueTitle, LabelDev)
	if err := s.GitHub.AddLabel(Repository, issue, LabelDev, Owner); err != nil {
		return End{}, fmt.Errorf("labelling the issue: %w", err)
	}
	asked, err := s.awaitRequest(ctx, story, tooMuch)
	if err != nil {
		return End{}, fmt.Errorf("after the label: %w", err)
	}
	say("the agent wants the Secret %s; Telegram, Slack and the HTTP approver show it, its pod is gone, the run waits: %s", tooMuch, s.Chat.URL())
	say("%s denies in Slack: %s", Owner, noBecause)
	if err := s.press(ctx, asked[fakechat.Slack], "Deny with a reason", noBecause); err != nil {
		return End{}, err
	}
	if err := s.awaitOutcome(ctx, tooMuch, "Denied"); err != nil {
		return End{}, err
	}
	if asked, err = s.awaitRequest(ctx, story, enough); err != nil {
		return End{}, fmt.Errorf("after the denial: %w", err)
	}
	say("all three show that; the same conversation asks again, for the Secret %s, and its pod is gone", enough)
	say("%s approves in Telegram", Owner)
	if err := s.press(ctx, asked[fakechat.Telegram], "Approve", ""); err != nil {
		return End{}, err
	}
	if err := s.awaitOutcome(ctx, enough, "Approved"); err != nil {
		return End{}, err
	}
	say("all three show that, and the platform makes the Secret")
	pull, err := story.awaitRun(ctx, 1)
	if err != nil {
		return End{}, fmt.Errorf("after the approval: %w", err)
	}
	say("pull request #%d %q is in review: %s", pull.Number, pull.Title, story.page("pull", pull.Number))
	e, err := story.end(ctx, pull)
	if err != nil {
		return End{}, err
	}
	return e, s.oneConversation("<<<DATA issue ", "Outcome: denied", "Outcome: done", "The Secret "+enough+" is made")
}

// oneConversation says whether the model's last call held all that was said before, each once.
func (s *Stack) oneConversation(said ...string) error {
	calls := s.Model.Requests()
	last := string(calls[len(calls)-1].Body)
	for _, words := range said {
		if n := strings.Count(last, words); n != 1 {
			return fmt.Errorf("the model's last call has %q %d times, not once: it is not one conversation", words, n)
		}
	}
	return nil
}

// awaitRequest waits until the request that holds these words is open in the chats, once in each, and its run waits
// without a Job. It returns the messages by chat.
func (s *Stack) awaitRequest(ctx context.Context, story Story, words string) (map[string]fakechat.Post, error) {
	db, err := story.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	asked := map[string]fakechat.Post{}
	err = wait(ctx, func() (bool, string, error) {
		for _, channel := range chats {
			posts := s.posts(channel, words)
			if len(posts) != 1 || len(posts[0].Buttons) == 0 {
				return false, fmt.Sprintf("one open request for %s in %s, where there are %d", words, channel, len(posts)), nil
			}
			asked[channel] = posts[0]
		}
		var state string
		var over bool
		err := db.QueryRow(ctx, `SELECT state, job_over FROM runs WHERE repository = $1 AND issue = $2`, story.Repository, story.Issue).Scan(&state, &over)
		if err != nil {
			return false, "", fmt.Errorf("reading the run: %w", err)
		}
		return state == "waiting" && over, fmt.Sprintf("the run to wait with its Job over; it is %s, its Job over: %t", state, over), nil
	})
	return asked, err
}

// press presses a button, and sends the words if it wants some.
func (s *Stack) press(ctx context.Context, post fakechat.Post, button, words string) error {
	said, err := s.Chat.Click(ctx, post, button, Owner)
	if err == nil && words != "" {
		said, err = s.Chat.Fill(ctx, post.Channel, words, Owner)
	}
	if err != nil {
		return fmt.Errorf("pressing %q in %s: %w", button, post.Channel, err)
	}
	if said.Status/100 != 2 {
		return fmt.Errorf("pressing %q in %s: it was answered %d", button, post.Channel, said.Status)
	}
	return nil
}

// awaitOutcome waits until the chats show how the request ended and who decided, and have no buttons left.
func (s *Stack) awaitOutcome(ctx context.Context, words, outcome string) error {
	return wait(ctx, func() (bool, string, error) {
		for _, channel := range chats {
			posts := s.posts(channel, words)
			if len(posts) != 1 || len(posts[0].Buttons) > 0 || !strings.Contains(posts[0].Text, outcome) || !strings.Contains(posts[0].Text, Owner) {
				return false, fmt.Sprintf("%q by %s in %s, which shows %+v", outcome, Owner, channel, posts), nil
			}
		}
		return true, "", nil
	})
}

// posts are the messages of a chat that hold the words.
func (s *Stack) posts(channel, words string) (all []fakechat.Post) {
	for _, p := range s.Chat.Posts(channel) {
		if strings.Contains(p.Text, words) {
			all = append(all, p)
		}
	}
	return all
}
