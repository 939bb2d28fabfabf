package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	fakechat "codexk8s.dev/test/fakes/chat"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestAnAgentAsksAndEachChannelAnswers: Codex asks by its tool, and its run waits without a pod. Somebody answers in
// one of the channels, all of them show by whom, and the same conversation goes on with the answer to its pull request.
// As many runs as there are channels wait at the same time.
func TestAnAgentAsksAndEachChannelAnswers(t *testing.T) {
	ctx, s := start(t, codex(t))
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	rules(t, sql, approval.Rule{
		Actions: []string{"question"}, Who: approval.Who{Roles: []string{"maintainer"}, Approvers: []string{stack.ApproverName}}, Deadline: time.Hour,
	})
	shown := []string{fakechat.Telegram, fakechat.Slack, fakechat.Mattermost, fakechat.Jira, fakechat.Approver}
	channels := append([]string{approval.GitHub}, shown...)
	issues := map[string]int{}
	words := func(channel string) string { return "Which words, if " + channel + " answers?" }
	for _, channel := range channels {
		issues[channel] = label(t, s, "One more language.\n\nAsk first: "+words(channel)+" Bonjour | Salut")
	}
	for _, channel := range channels {
		waits(ctx, t, sql, issues[channel])
		posts := map[string]fakechat.Post{}
		await(ctx, t, "the question of "+channel+" in every channel", func() bool {
			for _, in := range shown {
				if all := postsWith(s, in, words(channel)); len(all) == 1 {
					posts[in] = all[0]
				}
			}
			return len(posts) == len(shown) && slices.ContainsFunc(s.GitHub.Comments(stack.Repository, issues[channel]), holds(words(channel)))
		})
		reply := func() (fakechat.Result, error) { return s.Chat.Click(ctx, posts[channel], "Salut", stack.Owner) }
		switch channel {
		case approval.GitHub:
			reply = func() (fakechat.Result, error) {
				_, err := s.GitHub.Comment(stack.Repository, issues[channel], "/answer 2", stack.Owner)
				return fakechat.Result{Status: http.StatusOK}, err
			}
		case fakechat.Jira:
			reply = func() (fakechat.Result, error) {
				return s.Chat.Reply(ctx, channel, posts[channel].Chat, posts[channel].ID, "/answer 2", stack.Owner)
			}
		}
		if said, err := reply(); err != nil || said.Status != http.StatusOK {
			t.Fatalf("%s is answered %+v, %v", channel, said, err)
		}
	}
	for _, channel := range channels {
		issue, by := issues[channel], stack.Owner
		if channel == fakechat.Approver {
			by = stack.ApproverName // it does not say who answered there
		}
		await(ctx, t, "the end of the run that "+channel+" answered", func() bool {
			return slices.Equal(sql.Lines(`SELECT state || ' ' || attempt FROM runs WHERE issue = $1`, issue), []string{"succeeded 1"})
		})
		for _, in := range shown {
			await(ctx, t, "the answer of "+channel+" in "+in, func() bool {
				all := postsWith(s, in, words(channel))
				return len(all) == 1 && (len(all[0].Buttons) == 0 || in == fakechat.Jira) && answeredBy(all[0].Text, by)
			})
		}
		await(ctx, t, "the answer of "+channel+" on the issue", func() bool {
			return slices.ContainsFunc(s.GitHub.Comments(stack.Repository, issue), func(c fakegithub.Comment) bool { return answeredBy(c.Body, by) })
		})
		greeting, err := s.GitHub.File(stack.Repository, fmt.Sprintf("codexk8s/issue-%d", issue), "greetings/french.txt")
		if diff := cmp.Diff("Bonjour, le monde !\nSalut\n", greeting); err != nil || diff != "" {
			t.Errorf("%s: the new file (-want +got): %v\n%s", channel, err, diff)
		}
		if diff := cmp.Diff(map[string]int{"<<<DATA issue ": 1, "Outcome: answered": 1}, said(s, words(channel))); diff != "" {
			t.Errorf("%s: what the model's last call holds, and how often (-want +got):\n%s", channel, diff)
		}
	}
	if n := len(s.GitHub.PullRequests(stack.Repository)); n != len(channels) {
		t.Errorf("there are %d pull requests", n)
	}
}

// answeredBy says whether a text tells who has answered, in whatever form its channel gives a name.
func answeredBy(text, who string) bool {
	_, by, answered := strings.Cut(text, "Answered by ")
	return answered && strings.Contains(by, who)
}

// said is how often the last model call of the conversation with these words holds the task and an answer to a
// question: it is one conversation if it holds each once.
func said(s *stack.Stack, words string) map[string]int {
	all := map[string]int{}
	for _, call := range s.Model.Requests() {
		if body := string(call.Body); strings.Contains(body, words) {
			for _, part := range []string{"<<<DATA issue ", "Outcome: answered"} {
				all[part] = strings.Count(body, part)
			}
		}
	}
	return all
}

// rules are those of the demonstration's project, before the process's own.
func rules(t *testing.T, sql *pgtest.DB, all ...approval.Rule) {
	t.Helper()
	policy, err := json.Marshal(approval.Policy{Rules: all})
	if err != nil {
		t.Fatal(err)
	}
	sql.Do(`UPDATE projects SET settings = jsonb_set(settings, '{approvals}', $1)`, policy)
}
