package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	fakechat "codexk8s.dev/test/fakes/chat"
)

// A bridge is an adapter that shows people what it is asked by one of the platform's own channels. All that it keeps
// over a restart is which requests there are; what a click means the channel knows from the button.
type bridge struct {
	*httptest.Server
	name, target string
	fake         *fakechat.Server

	mu      sync.Mutex
	channel chat.Channel
	asked   map[string]*bridged
}

type bridged struct {
	message events.ApprovalMessage
	ref     chat.Ref
	back    string
	over    bool
}

func newBridge(t *testing.T, name, target string) *bridge {
	t.Helper()
	fake, err := fakechat.New(fakechat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	b := &bridge{name: name, target: target, fake: fake, asked: map[string]*bridged{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /approve", b.ask)
	mux.HandleFunc("POST /execute", b.ask)
	mux.HandleFunc("POST /decided", b.ended)
	mux.HandleFunc("POST /"+name, b.hear)
	b.Server = httptest.NewServer(mux)
	t.Cleanup(b.Close)
	fake.CallTo(b.URL)
	if err := b.restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bridge) restart(context.Context) error {
	all, err := chat.Connect(chat.Settings{
		Keys: "a-key-of-our-own", Callback: b.URL, TelegramAPI: b.fake.URL() + "/telegram", TelegramToken: fakechat.Token, TelegramSecrets: b.fake.Secret(),
		SlackAPI: b.fake.URL() + "/slack/api", SlackToken: fakechat.Token, SlackSecrets: b.fake.Secret(),
		MattermostAPI: b.fake.URL() + "/mattermost", MattermostToken: fakechat.Token, MattermostCommands: b.fake.Secret(),
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.channel = all[b.name]
	return err
}

// ask shows a request, once.
func (b *bridge) ask(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID        string          `json:"correlation_id"`
		Title     string          `json:"approval_request"`
		Words     string          `json:"justification"`
		Arguments json.RawMessage `json:"arguments"`
		Lang      string          `json:"lang"`
		Callback  struct {
			URL string `json:"url"`
		} `json:"callback"`
	}
	word := map[string]string{"/approve": "decision", "/execute": "status"}[r.URL.Path]
	say := func(status int, decision string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{word: decision})
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.ID == "" || in.Callback.URL == "" {
		say(http.StatusBadRequest, "error")
		return
	}
	m := events.ApprovalMessage{
		RequestID: in.ID, Digest: "0123456789ab", Version: 1, Lang: in.Lang, Kind: events.KindApproval, State: approval.Open, Quorum: 1,
		Action: "tool:x", Title: in.Title, Arguments: in.Arguments, Justification: in.Words, Deadline: time.Now().Add(time.Hour),
	}
	if word == "status" {
		var question struct {
			Question string   `json:"question"`
			Options  []string `json:"options"`
			Custom   bool     `json:"allow_custom"`
		}
		_ = json.Unmarshal(in.Arguments, &question)
		m.Kind, m.Title, m.Options, m.FreeText, m.Arguments = events.KindQuestion, question.Question, question.Options, question.Custom, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked[in.ID] == nil {
		posted, err := b.channel.Post(r.Context(), b.target, m)
		if err != nil {
			say(http.StatusAccepted, "error")
			return
		}
		b.asked[in.ID] = &bridged{message: m, ref: posted.Ref, back: in.Callback.URL}
	}
	say(http.StatusAccepted, "pending")
}

// ended shows how a request ended elsewhere.
func (b *bridge) ended(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID      string `json:"correlation_id"`
		Outcome string `json:"outcome"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.asked[in.ID]
	if a == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	a.over = true
	a.message.Version, a.message.State, a.message.Outcome = 2, approval.Expired, in.Outcome
	if err := b.channel.Edit(r.Context(), a.ref, a.message); err != nil {
		w.WriteHeader(http.StatusBadGateway)
	}
}

// hear takes the channel's callback.
func (b *bridge) hear(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	cb, err := b.channel.Read(r, body, time.Now())
	var unfit *chat.Unfit
	if errors.As(err, &unfit) {
		w.WriteHeader(unfit.Status)
		return
	}
	if cb.Kind == chat.Asked {
		_ = b.channel.Ask(r.Context(), cb)
	}
	words := ""
	if a := b.asked[cb.Vote.RequestID]; cb.Kind == chat.Voted && a != nil && !a.over {
		a.over = true
		go b.decided(a, cb.Vote)
	} else if cb.Kind == chat.Voted {
		words = "It is decided."
	}
	answer := cb.Answer(words, words == "")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body)
}

// decided calls back until it is heard, and then shows the outcome.
func (b *bridge) decided(a *bridged, v events.ApprovalVoted) {
	result := map[string]any{"correlation_id": a.message.RequestID, "decision": v.Choice, "reason": v.Text}
	if v.Choice == events.Answer {
		option := map[string]any{"selected_option": v.Text, "custom": true}
		if v.Option > 0 {
			option = map[string]any{"selected_option": a.message.Options[v.Option-1], "selected_index": v.Option - 1, "custom": false}
		}
		result = map[string]any{"correlation_id": a.message.RequestID, "status": "success", "result": option}
	}
	text, _ := json.Marshal(result)
	for heard := false; !heard; {
		res, err := http.Post(a.back, "application/json", bytes.NewReader(text)) //nolint:noctx // it ends with the test's server
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = res.Body.Close()
		heard = res.StatusCode < 500
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		time.Sleep(time.Duration(seconds) * time.Second)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a.message.Version, a.message.State, a.message.Outcome = 2, approval.Approved, "Decided by ann."
	_ = b.channel.Edit(context.Background(), a.ref, a.message)
}

// press is what ann does in the chat.
func (b *bridge) press(ctx context.Context, to *attempt, do act) error {
	b.mu.Lock()
	a := b.asked[to.id]
	b.mu.Unlock()
	if a == nil {
		return fmt.Errorf("nothing is shown of %s", to.id)
	}
	post := func() fakechat.Post {
		all := b.fake.Posts(b.name)
		return all[slices.IndexFunc(all, func(p fakechat.Post) bool { return p.ID == a.ref.Message })]
	}
	button := map[string]string{"approve": "Approve", "deny": "Deny", "option": fmt.Sprintf("%d. ", do.option), "words": "in my words"}[do.what]
	if do.what == "deny" && do.text != "" {
		button = "with a reason"
	}
	if _, err := b.fake.Click(ctx, post(), button, "ann"); err != nil || do.text == "" {
		return err
	}
	if b.name == fakechat.Telegram {
		all := b.fake.Posts(b.name)
		prompt := all[len(all)-1]
		_, err := b.fake.Reply(ctx, b.name, prompt.Chat, prompt.ID, do.text, "ann")
		return err
	}
	_, err := b.fake.Fill(ctx, b.name, do.text, "ann")
	return err
}

// The platform's own channels keep what is asked of any adapter: a click after a restart, twice, late, in another
// order.
func TestOurOwnChannelsPass(t *testing.T) {
	for name, target := range map[string]string{fakechat.Telegram: "-1001", fakechat.Slack: "C0123ABC", fakechat.Mattermost: "abcdefghijklmnopqrstuvwx12"} {
		t.Run(name, func(t *testing.T) {
			b := newBridge(t, name, target)
			p, err := listen(env{URL: b.URL, Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			var out bytes.Buffer
			s := &session{platform: p, out: &out, press: b.press, restart: b.restart, patience: time.Minute, quiet: 20 * time.Millisecond, again: time.Minute}
			if err := s.checkAll(t.Context()); err != nil {
				t.Errorf("%v:\n%s", err, &out)
			}
			if !strings.Contains(out.String(), "\n30 ok, 0 weak, 0 failed, 8 not tried\n") { // that are of signatures
				t.Errorf("it says\n%s", &out)
			}
		})
	}
}
