//go:build cluster

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/store"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/stack"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

const (
	chatPort     = 18183
	telegramChat = "-1001"
	slackChannel = "C0TEST"
	// patience of a chat with a callback, which may wake the platform; Telegram's is about as long.
	callbackTime = time.Minute
)

// startChats plays Telegram and Slack, whose callbacks come in as webhooks do.
func (w *world) startChats(context.Context) (err error) {
	w.chat, err = fakechat.New(fakechat.Options{
		Addr: w.address(chatPort), Secret: random(16), People: []fakechat.Person{{Name: owner, ID: 11}},
		Client: &http.Client{Timeout: callbackTime, Transport: &http.Transport{DialContext: w.dial}},
	})
	if err == nil {
		w.stop = append(w.stop, func() { _ = w.chat.Close() })
	}
	return err
}

// chatSecret is what config/README.md has an operator make.
func (w *world) chatSecret() map[string]string {
	return map[string]string{
		"keys": random(16), "telegram-bot-token": fakechat.Token, "telegram-webhook-secrets": w.chat.Secret(),
		"slack-bot-token": fakechat.Token, "slack-signing-secrets": w.chat.Secret(),
	}
}

// toChats are the JSON patches that lead a function to the fakes instead of the real ones.
func (w *world) toChats() (changes []any) {
	for name, path := range map[string]string{"TELEGRAM_API_URL": "/telegram", "SLACK_API_URL": "/slack/api"} {
		changes = append(changes, map[string]any{
			"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": map[string]string{"name": name, "value": w.chat.URL() + path},
		})
	}
	return changes
}

// connectChats tells the chats where approval-callback is.
func (w *world) connectChats(ctx context.Context) error {
	at, err := w.kubectl(ctx, "-n", namespace, "get", "ksvc", "approval-callback", "-o", "jsonpath={.status.url}")
	if err == nil {
		w.chat.CallTo(at)
	}
	return err
}

// linkOwner ties the owner's account of Telegram to them, by a code that they send to the bot.
func (w *world) linkOwner(t *testing.T) {
	t.Helper()
	db, err := store.Open(t.Context(), "test-cluster", w.dbURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(w.github.APIURL(), "/")+"/users/"+owner, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+owner+"-token")
	said, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Body.Close()
	account := store.Account{Login: owner}
	if err := json.NewDecoder(said.Body).Decode(&struct{ ID *int64 }{&account.ID}); err != nil || account.ID == 0 {
		t.Fatalf("GitHub's number of @%s: %d, %v", owner, account.ID, err)
	}
	if err := db.KeepAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	code, err := db.LinkCode(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.chat.Link(t.Context(), fakechat.Telegram, code, owner); err != nil || got.Status != http.StatusOK {
		t.Fatalf("linking was answered %+v, %v", got, err)
	}
}

// shown are the messages in the chats that approvals go to; the bot's own talk with a person is not among them.
func (w *world) shown(channel string) (posts []fakechat.Post) {
	for _, p := range w.chat.Posts(channel) {
		if p.Chat == telegramChat || p.Chat == slackChannel {
			posts = append(posts, p)
		}
	}
	return posts
}

// TestAnApprovalWaitsWithoutAnyPod: an agent asks; while people think there is no pod, neither of the run nor of any
// function; a click from outside wakes them, and the same conversation goes on to its pull request.
func TestAnApprovalWaitsWithoutAnyPod(t *testing.T) {
	it.linkOwner(t)
	repo := it.repo("asking")
	issue := it.newIssue(t, repo, stack.IssueTitle, "One more language.\n\nAsk first: Which words? Bonjour | Salut")
	it.atZero(t)
	line := it.timeline(t, repo)
	it.label(t, repo, issue)
	until(t, labelTime, func(ctx context.Context) (string, error) {
		var waits bool
		err := it.db.QueryRow(ctx, `SELECT state = 'waiting' AND job_over FROM runs WHERE repository = $1`, repo).Scan(&waits)
		if !waits || len(it.shown(fakechat.Telegram)) == 0 || len(it.shown(fakechat.Slack)) == 0 {
			return "the run to wait, its Job over, and the question in both chats", err
		}
		return "", err
	})
	line.add(time.Now(), "● the run waits")
	it.settled(t)
	it.atZero(t)
	for _, p := range mustList[corev1.Pod](t, it, "v1/pods", "", ours) {
		if p.Annotations["codexk8s.dev/repository"] == repo && p.Status.Phase == corev1.PodRunning {
			t.Errorf("pod %s runs while people think", p.Name)
		}
	}
	clicked := time.Now()
	line.add(clicked, "● a click, with no function running")
	got, err := it.chat.Click(t.Context(), it.shown(fakechat.Telegram)[0], "Salut", owner)
	if err != nil || got.Status != http.StatusOK {
		t.Fatalf("the click was answered %+v, %v", got, err)
	}
	line.add(time.Now(), fmt.Sprintf("● the click is answered, %.1f s after it", time.Since(clicked).Seconds()))
	it.finished(t, repo, issue, "succeeded", "")
	line.readDatabase(t, repo, issue)
	t.Logf("timeline from the label:\n%s", line)
	it.settled(t)
	for _, channel := range []string{fakechat.Telegram, fakechat.Slack} {
		posts := it.shown(channel)
		if len(posts) != 1 || len(posts[0].Buttons) > 0 || !strings.Contains(posts[0].Text, "Salut") {
			t.Errorf("%s shows %+v, want one message that says how it was answered", channel, posts)
		}
	}
	greeting, err := it.github.File(repo, fmt.Sprintf("codexk8s/issue-%d", issue), filepath.Join("greetings", "french.txt"))
	if err != nil || !strings.Contains(greeting, "Salut") {
		t.Errorf("the agent wrote %q, in which the answer should be seen: %v", greeting, err)
	}
}

// TestTwoFunctionsArePublic: the internet reaches those that take what it sends, and no other.
func TestTwoFunctionsArePublic(t *testing.T) {
	for _, s := range mustList[servingv1.Service](t, it, "serving.knative.dev/v1/services", namespace, "") {
		public := s.Name == "webhook-adapter" || s.Name == "approval-callback" || s.Name == "console"
		at := s.Status.URL.URL().Hostname()
		if inside := strings.HasSuffix(at, ".svc.cluster.local"); inside == public {
			t.Errorf("%s is at %s; public: %t, want %t", s.Name, at, !inside, public)
		}
	}
}
