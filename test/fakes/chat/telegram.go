package fakechat

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// The chats of the fake Telegram: a negative number is a group, another one a person's.
// https://core.telegram.org/bots/api

func (s *Server) telegramRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /telegram/{bot}/{method}", func(w http.ResponseWriter, r *http.Request) {
		var in telegramCall
		if r.PathValue("bot") != "bot"+Token {
			answer(w, http.StatusUnauthorized, telegramRefusal(401, "Unauthorized", nil))
			return
		}
		raw, err := readJSON(r, &in)
		if err != nil {
			answer(w, http.StatusBadRequest, telegramRefusal(400, "Bad Request: "+err.Error(), nil))
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		status, body := s.telegram(r.PathValue("method"), in, raw)
		answer(w, status, body)
	})
}

type telegramCall struct {
	ChatID    json.RawMessage `json:"chat_id"`
	MessageID int64           `json:"message_id"`
	Thread    int64           `json:"message_thread_id"`
	Text      string          `json:"text"`
	ParseMode string          `json:"parse_mode"`
	Reply     struct {
		MessageID int64 `json:"message_id"`
		Without   bool  `json:"allow_sending_without_reply"`
	} `json:"reply_parameters"`
	Markup struct {
		Inline [][]struct {
			Text string `json:"text"`
			Data string `json:"callback_data"`
			URL  string `json:"url"`
		} `json:"inline_keyboard"`
		Force bool `json:"force_reply"`
	} `json:"reply_markup"`
	QueryID   string `json:"callback_query_id"`
	ShowAlert bool   `json:"show_alert"`
}

func telegramRefusal(code int, description string, parameters object) object {
	out := object{"ok": false, "error_code": code, "description": description}
	if parameters != nil {
		out["parameters"] = parameters
	}
	return out
}

func bad(description string) (int, object) {
	return http.StatusBadRequest, telegramRefusal(400, "Bad Request: "+description, nil)
}

// telegram answers one call. The mutex is held.
func (s *Server) telegram(method string, in telegramCall, raw json.RawMessage) (int, object) {
	chat := strings.Trim(string(in.ChatID), `"`)
	if t := s.trouble(Telegram); t != nil {
		if status, body := telegramTrouble(t); body != nil {
			if t.Kind == "migrated" {
				s.moved[chat] = t.To
			}
			return status, body
		}
	}
	if to := s.moved[chat]; to != "" && method == "sendMessage" {
		id, _ := strconv.ParseInt(to, 10, 64)
		return http.StatusBadRequest, telegramRefusal(400, "Bad Request: group chat was upgraded to a supergroup chat", object{"migrate_to_chat_id": id})
	}
	switch method {
	case "sendMessage":
		return s.telegramSend(chat, in, raw)
	case "editMessageText":
		return s.telegramEdit(chat, in, raw)
	}
	return http.StatusNotFound, telegramRefusal(404, "Not Found: method not found", nil)
}

func telegramTrouble(t *Trouble) (int, object) {
	switch t.Kind {
	case "limit":
		after := max(int(t.After.Seconds()), 1)
		return 429, telegramRefusal(429, "Too Many Requests: retry after "+strconv.Itoa(after), object{"retry_after": after})
	case "blocked":
		return 403, telegramRefusal(403, "Forbidden: bot was blocked by the user", nil)
	case "kicked":
		return 403, telegramRefusal(403, "Forbidden: bot was kicked from the supergroup chat", nil)
	case "gone":
		return bad("chat not found")
	case "unauthorized":
		return 401, telegramRefusal(401, "Unauthorized", nil)
	case "migrated":
		id, _ := strconv.ParseInt(t.To, 10, 64)
		return 400, telegramRefusal(400, "Bad Request: group chat was upgraded to a supergroup chat", object{"migrate_to_chat_id": id})
	}
	return 502, telegramRefusal(502, "Bad Gateway", nil)
}

func (s *Server) telegramSend(chat string, in telegramCall, raw json.RawMessage) (int, object) {
	if chat == "" || chat == "0" || strings.HasPrefix(chat, "@") {
		return bad("chat not found")
	}
	p := &Post{Channel: Telegram, Chat: chat, By: "bot", Raw: raw}
	if in.Thread != 0 {
		p.Chat += "/" + strconv.FormatInt(in.Thread, 10)
	}
	if status, refusal := p.takeTelegram(in); refusal != nil {
		return status, refusal
	}
	if in.Reply.MessageID != 0 {
		p.ReplyTo = strconv.FormatInt(in.Reply.MessageID, 10)
		if s.post(Telegram, "", p.ReplyTo) == nil {
			if !in.Reply.Without {
				return bad("message to be replied not found")
			}
			p.ReplyTo = ""
		}
	}
	p.ID = s.id()
	s.posts = append(s.posts, p)
	return http.StatusOK, object{"ok": true, "result": s.telegramObject(p)}
}

func (s *Server) telegramEdit(chat string, in telegramCall, raw json.RawMessage) (int, object) {
	p := s.post(Telegram, "", strconv.FormatInt(in.MessageID, 10))
	if p == nil || telegramChat(p) != chat {
		return bad("message to edit not found")
	}
	if p.By != "bot" {
		return bad("message can't be edited")
	}
	next := *p
	if status, refusal := next.takeTelegram(in); refusal != nil {
		return status, refusal
	}
	if next.View == p.View && fmt.Sprint(next.Buttons) == fmt.Sprint(p.Buttons) {
		return bad("message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message")
	}
	next.Edits++
	next.Raw = raw
	*p = next
	return http.StatusOK, object{"ok": true, "result": s.telegramObject(p)}
}

// telegramChat is the chat of a post without its topic.
func telegramChat(p *Post) string {
	chat, _, _ := strings.Cut(p.Chat, "/")
	return chat
}

// takeTelegram checks text and buttons, and keeps them.
func (p *Post) takeTelegram(in telegramCall) (int, object) {
	text, view := in.Text, template.HTML(template.HTMLEscapeString(in.Text))
	switch in.ParseMode {
	case "":
	case "HTML":
		var err error
		if text, view, err = telegramHTML(in.Text); err != nil {
			return bad("can't parse entities: " + err.Error())
		}
	default:
		return bad("unsupported parse_mode")
	}
	if strings.TrimSpace(text) == "" {
		return bad("message text is empty")
	}
	if len(utf16.Encode([]rune(text))) > 4096 {
		return bad("message is too long")
	}
	p.Text, p.View, p.Buttons = text, view, nil
	for _, row := range in.Markup.Inline {
		for _, b := range row {
			switch {
			case b.Text == "":
				return bad("text buttons are unallowed in the inline keyboard")
			case b.Data == "" && b.URL == "":
				return bad("inline keyboard button type must be specified")
			case len(b.Data) > 64:
				return bad("BUTTON_DATA_INVALID")
			}
			p.Buttons = append(p.Buttons, Button{Label: b.Text, data: b.Data})
		}
	}
	return 0, nil
}

var telegramTag = regexp.MustCompile(`^</?([a-z-]+)((?:\s+[a-z]+(?:="[^"<>]*")?)*)\s*>`)
var telegramEntity = regexp.MustCompile(`^&(?:lt|gt|amp|quot|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});`)
var telegramHref = regexp.MustCompile(`href="([^"]*)"`)

// telegramHTML parses Telegram's HTML as it does: known elements, properly nested, nothing else.
// https://core.telegram.org/bots/api#html-style
func telegramHTML(s string) (text string, view template.HTML, err error) {
	var plain, out strings.Builder
	var open []string
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case rest[0] == '<':
			m := telegramTag.FindStringSubmatch(rest)
			if m == nil {
				return "", "", fmt.Errorf("unsupported start tag at byte offset %d", i)
			}
			if open, err = telegramElement(&out, open, m, strings.HasPrefix(rest, "</"), i); err != nil {
				return "", "", err
			}
			i += len(m[0])
		case rest[0] == '&' && telegramEntity.MatchString(rest):
			e := telegramEntity.FindString(rest)
			plain.WriteString(html.UnescapeString(e))
			out.WriteString(e)
			i += len(e)
		default:
			n := strings.IndexAny(rest[1:], "<&") + 1
			if n == 0 {
				n = len(rest)
			}
			plain.WriteString(rest[:n])
			out.WriteString(template.HTMLEscapeString(rest[:n]))
			i += n
		}
	}
	if len(open) > 0 {
		return "", "", fmt.Errorf("can't find end tag corresponding to start tag %q", open[len(open)-1])
	}
	return plain.String(), template.HTML(out.String()), nil
}

func telegramElement(out *strings.Builder, open []string, m []string, closing bool, at int) ([]string, error) {
	name := m[1]
	switch name {
	case "b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "blockquote", "a":
	default:
		return nil, fmt.Errorf("unsupported start tag %q at byte offset %d", name, at)
	}
	if closing {
		if len(open) == 0 || open[len(open)-1] != name {
			return nil, fmt.Errorf("unexpected end tag at byte offset %d", at)
		}
		out.WriteString("</" + name + ">")
		return open[:len(open)-1], nil
	}
	if name == "a" {
		if href := telegramHref.FindStringSubmatch(m[2]); href != nil {
			if u, err := url.Parse(html.UnescapeString(href[1])); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
				out.WriteString(`<a rel="noreferrer" href="` + template.HTMLEscapeString(u.String()) + `">`)
				return append(open, name), nil
			}
		}
	}
	out.WriteString("<" + name + ">")
	return append(open, name), nil
}

// telegramObject is a post as https://core.telegram.org/bots/api#message. The mutex is held.
func (s *Server) telegramObject(p *Post) object {
	id, _ := strconv.ParseInt(p.ID, 10, 64)
	chat, topic, _ := strings.Cut(p.Chat, "/")
	number, _ := strconv.ParseInt(chat, 10, 64)
	kind := "private"
	if number < 0 {
		kind = "supergroup"
	}
	from := object{"id": 4242, "is_bot": true, "first_name": "codex-k8s", "username": "codexk8s_bot"}
	if who, err := s.person(p.By); err == nil {
		from = telegramPerson(who)
	}
	out := object{"message_id": id, "date": s.o.Now().Unix(), "chat": object{"id": number, "type": kind}, "from": from, "text": p.Text}
	if topic != "" {
		out["message_thread_id"], _ = strconv.ParseInt(topic, 10, 64)
		out["is_topic_message"] = true
	}
	if to := s.post(Telegram, "", p.ReplyTo); to != nil && p.ReplyTo != "" {
		out["reply_to_message"] = s.telegramObject(to)
	}
	return out
}

func telegramPerson(p Person) object {
	return object{"id": p.ID, "is_bot": false, "first_name": strings.ToUpper(p.Name[:1]) + p.Name[1:], "username": p.Name}
}

// telegramClick presses a button.
func (s *Server) telegramClick(ctx context.Context, p Post, b Button, who Person) (Result, error) {
	s.mu.Lock()
	query := "q" + s.id()
	update := object{"update_id": s.last, "callback_query": object{
		"id": query, "from": telegramPerson(who), "message": s.telegramObject(&p), "chat_instance": "1", "data": b.data,
	}}
	s.mu.Unlock()
	return s.telegramUpdate(ctx, update, who)
}

// telegramReply writes a message, as an answer to another one if it has an id.
func (s *Server) telegramReply(ctx context.Context, chat, to, text string, who Person) (Result, error) {
	s.mu.Lock()
	p := &Post{Channel: Telegram, Chat: chat, ID: s.id(), ReplyTo: to, By: who.Name, Text: text, View: template.HTML(template.HTMLEscapeString(text))}
	s.posts = append(s.posts, p)
	update := object{"update_id": s.last, "message": s.telegramObject(p)}
	s.mu.Unlock()
	return s.telegramUpdate(ctx, update, who)
}

// telegramUpdate calls the webhook, and does what its answer asks for:
// https://core.telegram.org/bots/api#making-requests-when-getting-updates
func (s *Server) telegramUpdate(ctx context.Context, update object, who Person) (Result, error) {
	body, err := json.Marshal(update)
	if err != nil {
		return Result{}, fmt.Errorf("writing an update: %w", err)
	}
	header := http.Header{"X-Telegram-Bot-Api-Secret-Token": {s.o.Secret}}
	res, err := s.deliver(ctx, s.callback(Telegram), header, "application/json", body)
	if err != nil || res.Body == "" {
		return res, err
	}
	var in struct {
		Method string `json:"method"`
		telegramCall
	}
	if err := json.Unmarshal([]byte(res.Body), &in); err != nil || res.Status != http.StatusOK {
		return res, nil //nolint:nilerr // Telegram ignores an answer that is no call
	}
	switch in.Method {
	case "answerCallbackQuery":
		if len([]rune(in.Text)) > 200 {
			return res, fmt.Errorf("telegram: Bad Request: MESSAGE_TOO_LONG")
		}
		s.tell(Telegram, who.Name, in.Text)
	case "sendMessage":
		s.mu.Lock()
		defer s.mu.Unlock()
		if status, said := s.telegram("sendMessage", in.telegramCall, json.RawMessage(res.Body)); status != http.StatusOK {
			return res, fmt.Errorf("telegram: %v", said["description"])
		}
	}
	return res, nil
}

// callback is where a service's callbacks go.
func (s *Server) callback(channel string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.Callback + "/" + channel
}
