package fakechat

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The fake Slack: public channels whose id begins with C, private ones with G, direct messages with D, people with U.
// https://docs.slack.dev/reference/methods

func (s *Server) slackRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /slack/api/{method}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+Token {
			answer(w, http.StatusOK, object{"ok": false, "error": "invalid_auth"})
			return
		}
		var in slackCall
		raw, err := readJSON(r, &in)
		if err != nil {
			answer(w, http.StatusOK, object{"ok": false, "error": "invalid_json"})
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if t := s.trouble(Slack); t != nil {
			slackTrouble(w, t)
			return
		}
		answer(w, http.StatusOK, s.slack(r.PathValue("method"), in, raw))
	})
	mux.HandleFunc("POST /slack/response/{id}/{person}", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Type    string `json:"response_type"`
			Replace bool   `json:"replace_original"`
			Text    string `json:"text"`
		}
		if _, err := readJSON(r, &in); err != nil || in.Type != "ephemeral" || in.Replace || in.Text == "" {
			http.Error(w, "invalid_payload", http.StatusBadRequest)
			return
		}
		s.tell(Slack, r.PathValue("person"), in.Text)
		_, _ = w.Write([]byte("ok")) // the client may have gone
	})
}

func slackTrouble(w http.ResponseWriter, t *Trouble) {
	switch t.Kind {
	case "limit":
		w.Header().Set("Retry-After", strconv.Itoa(max(int(t.After.Seconds()), 1)))
		answer(w, http.StatusTooManyRequests, object{"ok": false, "error": "ratelimited"})
	case "down":
		http.Error(w, "upstream connect error", http.StatusServiceUnavailable)
	default:
		answer(w, http.StatusOK, object{"ok": false, "error": map[string]string{
			"blocked": "cannot_dm_bot", "kicked": "not_in_channel", "gone": "channel_not_found", "unauthorized": "token_revoked",
		}[t.Kind]})
	}
}

type slackCall struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	Thread  string `json:"thread_ts"`
	// Metadata of a message that is posted.
	Metadata json.RawMessage `json:"metadata"`
	Text     string          `json:"text"`
	Blocks   []slackBlock    `json:"blocks"`
	Trigger  string          `json:"trigger_id"`
	Oldest   string          `json:"oldest"`
	Limit    int             `json:"limit"`
	All      bool            `json:"include_all_metadata"`
	View     struct {
		Type     string       `json:"type"`
		Title    slackWords   `json:"title"`
		Submit   slackWords   `json:"submit"`
		Blocks   []slackBlock `json:"blocks"`
		Metadata string       `json:"private_metadata"`
	} `json:"view"`
}

// scope is what a call needs of the App, "" = nothing. https://docs.slack.dev/reference/scopes
func (in slackCall) scope(method string) string {
	switch method {
	case "chat.postMessage", "chat.update":
		return "chat:write"
	case "conversations.history":
		return map[string]string{"C": "channels:history", "G": "groups:history", "D": "im:history"}[in.Channel[:min(len(in.Channel), 1)]]
	}
	return ""
}

func (s *Server) granted(scope string) bool {
	return scope == "" || s.o.Scopes == nil || slices.Contains(s.o.Scopes, scope)
}

var slackChannel = regexp.MustCompile(`^[CGD]`)

// slack answers one call. The mutex is held.
func (s *Server) slack(method string, in slackCall, raw json.RawMessage) object {
	refuse := func(code string, why ...string) object {
		return object{"ok": false, "error": code, "response_metadata": object{"messages": why}}
	}
	if scope := in.scope(method); !s.granted(scope) {
		return object{"ok": false, "error": "missing_scope", "needed": scope, "provided": strings.Join(s.o.Scopes, ",")}
	}
	switch method {
	case "views.open":
		return s.slackOpen(in, refuse)
	case "conversations.history":
		return s.slackHistory(in, refuse)
	}
	shown, err := slackRender(in.Blocks)
	switch {
	case method != "chat.postMessage" && method != "chat.update":
		return refuse("unknown_method")
	case in.Text == "" && len(in.Blocks) == 0:
		return refuse("no_text")
	case err != nil:
		return refuse("invalid_blocks", "[ERROR] "+err.Error())
	case shown.size > 11_000:
		return refuse("msg_blocks_too_long")
	case len(in.Text) > 40_000:
		return refuse("msg_too_long")
	}
	p := &Post{Channel: Slack, Chat: in.Channel, By: "bot"}
	if method == "chat.update" {
		if p = s.post(Slack, in.Channel, in.TS); p == nil {
			return refuse("message_not_found")
		}
		p.Edits++
	} else {
		switch {
		case strings.HasPrefix(in.Channel, "U"):
			p.Chat = "D" + in.Channel[1:]
		case !slackChannel.MatchString(in.Channel):
			return refuse("channel_not_found")
		}
		if in.Thread != "" && s.post(Slack, p.Chat, in.Thread) == nil {
			return refuse("thread_not_found")
		}
		p.ID, p.ReplyTo, p.metadata = fmt.Sprintf("%d.%06s", s.o.Now().Unix(), s.id()), in.Thread, in.Metadata
		s.posts = append(s.posts, p)
	}
	p.View, p.Text, p.Buttons, p.Raw = template.HTML(shown.html.String()), shown.text.String(), shown.buttons, raw
	return object{"ok": true, "channel": p.Chat, "ts": p.ID}
}

// slackHistory lists a channel's messages, the newest first, without those in threads.
func (s *Server) slackHistory(in slackCall, refuse func(string, ...string) object) object {
	if !slackChannel.MatchString(in.Channel) {
		return refuse("channel_not_found")
	}
	oldest, _ := strconv.ParseFloat(in.Oldest, 64)
	messages := []object{}
	for _, p := range slices.Backward(s.posts) {
		at, _ := strconv.ParseFloat(p.ID, 64)
		if p.Channel != Slack || p.Chat != in.Channel || p.ReplyTo != "" || at <= oldest || len(messages) == max(in.Limit, 1) {
			continue
		}
		m := object{"type": "message", "ts": p.ID, "text": p.Text}
		if in.All && p.metadata != nil {
			m["metadata"] = p.metadata
		}
		messages = append(messages, m)
	}
	return object{"ok": true, "messages": messages}
}

// slackOpen opens a modal before whoever made the trigger.
func (s *Server) slackOpen(in slackCall, refuse func(string, ...string) object) object {
	person, ok := strings.CutPrefix(in.Trigger, "trigger.")
	name, _, _ := strings.Cut(person, ".")
	shown, err := slackRender(in.View.Blocks)
	switch {
	case !ok || s.used[in.Trigger]:
		return refuse("expired_trigger_id")
	case err != nil || in.View.Type != "modal" || shown.input == "":
		return refuse("invalid_arguments", fmt.Sprint(err))
	case in.View.Title.limit(24) != nil || in.View.Submit.limit(24) != nil || len(in.View.Metadata) > 3000:
		return refuse("invalid_arguments", "title, submit or private_metadata is too long or missing")
	}
	s.used[in.Trigger] = true
	s.forms = append(s.forms, &Form{
		Channel: Slack, Title: in.View.Title.Text, Label: shown.label, Person: name, id: "V" + s.id(), state: in.View.Metadata, element: shown.input,
	})
	return object{"ok": true}
}

func slackUser(p Person) object {
	return object{"id": "U" + strconv.FormatInt(p.ID, 10), "username": p.Name, "name": p.Name, "team_id": "T1"}
}

func (s *Server) slackClick(ctx context.Context, p Post, b Button, who Person) (Result, error) {
	s.mu.Lock()
	id := s.id()
	s.mu.Unlock()
	return s.slackCallback(ctx, who, url.Values{}, object{
		"type": "block_actions", "user": slackUser(who), "team": object{"id": "T1", "domain": "acme"}, "api_app_id": "A1",
		"trigger_id": "trigger." + who.Name + "." + id, "response_url": s.base + "/slack/response/" + id + "/" + who.Name,
		"container": object{"type": "message", "channel_id": p.Chat, "message_ts": p.ID}, "channel": object{"id": p.Chat, "name": "releases"},
		"message": object{"ts": p.ID, "text": "…"},
		"actions": []object{{"type": "button", "action_id": "x", "block_id": "y", "value": b.data, "action_ts": "1.0"}},
	})
}

func (s *Server) slackFill(ctx context.Context, f Form, text string, who Person) (Result, error) {
	block, action, _ := strings.Cut(f.element, "/")
	return s.slackCallback(ctx, who, url.Values{}, object{
		"type": "view_submission", "user": slackUser(who), "team": object{"id": "T1"}, "trigger_id": "none",
		"view": object{"id": f.id, "private_metadata": f.state, "state": object{"values": object{block: object{
			action: object{"type": "plain_text_input", "value": text},
		}}}},
	})
}

func (s *Server) slackLink(ctx context.Context, code string, who Person) (Result, error) {
	if !s.granted("commands") {
		return Result{}, errors.New("slack: the App has no commands")
	}
	return s.slackCallback(ctx, who, url.Values{
		"command": {"/codexk8s"}, "text": {"link " + code}, "user_id": {"U" + strconv.FormatInt(who.ID, 10)}, "user_name": {who.Name},
		"channel_id": {"D" + strconv.FormatInt(who.ID, 10)}, "team_id": {"T1"}, "trigger_id": {"none"},
	}, nil)
}

// slackCallback signs as https://docs.slack.dev/authentication/verifying-requests-from-slack says.
func (s *Server) slackCallback(ctx context.Context, who Person, form url.Values, payload object) (Result, error) {
	if payload != nil {
		text, err := json.Marshal(payload)
		if err != nil {
			return Result{}, fmt.Errorf("writing a payload: %w", err)
		}
		form.Set("payload", string(text))
	}
	body, stamp := form.Encode(), strconv.FormatInt(s.o.Now().Unix(), 10)
	sum := hmac.New(sha256.New, []byte(s.o.Secret))
	sum.Write([]byte("v0:" + stamp + ":" + body))
	header := http.Header{"X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(sum.Sum(nil))}}
	res, err := s.deliver(ctx, s.callback(Slack), header, "application/x-www-form-urlencoded", []byte(body))
	if err != nil || res.Body == "" {
		return res, err
	}
	var in struct {
		Text   string `json:"text"`
		Action string `json:"response_action"`
		View   struct {
			Blocks []slackBlock `json:"blocks"`
		} `json:"view"`
	}
	if err := json.Unmarshal([]byte(res.Body), &in); err != nil {
		return res, fmt.Errorf("slack shows a warning: the answer is no JSON: %w", err)
	}
	if in.Action == "update" {
		shown, err := slackRender(in.View.Blocks)
		if err != nil {
			return res, fmt.Errorf("slack shows a warning: %w", err)
		}
		in.Text = strings.TrimSpace(shown.text.String())
	}
	s.tell(Slack, who.Name, in.Text)
	return res, nil
}
