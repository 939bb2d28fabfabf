package fakechat

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"unicode/utf8"
)

// The fake approver and executor do what telegram-approver and telegram-executor do: they keep what they are asked in
// memory, call back once, and do not try again. Beyond that the message shows how a request ended, as the platform's
// contract lets it.

func (s *Server) approverRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /approver/approve", s.ask((*Server).approve))
	mux.HandleFunc("POST /approver/execute", s.ask((*Server).execute))
	mux.HandleFunc("POST /approver/decided", s.decided)
}

// decided shows how a request ended.
func (s *Server) decided(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID      string `json:"correlation_id"`
		Outcome string `json:"outcome"`
	}
	_, err := readJSON(r, &in)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.post(Approver, "", in.ID)
	switch t := s.trouble(Approver); {
	case t != nil:
		s.approverTrouble(w, t, func(string, string) { w.WriteHeader(http.StatusAccepted) })
	case err != nil || in.Outcome == "":
		http.Error(w, "no outcome", http.StatusBadRequest)
	case p == nil:
		http.Error(w, "404 page not found", http.StatusNotFound)
	case !strings.HasSuffix(p.Text, "\n\n"+in.Outcome): // it may be told twice
		p.note(in.Outcome)
	}
}

// note closes the message.
func (p *Post) note(text string) {
	p.Buttons, p.Edits = nil, p.Edits+1
	p.Text += "\n\n" + text
	p.View = template.HTML(template.HTMLEscapeString(p.Text))
}

type approverCall struct {
	ID            string          `json:"correlation_id"`
	Tool          json.RawMessage `json:"tool"`
	Arguments     map[string]any  `json:"arguments"`
	Justification string          `json:"justification"`
	Request       string          `json:"approval_request"`
	Risk          string          `json:"risk_assessment"`
	Links         []struct {
		Text string `json:"text"`
		URL  string `json:"url"`
	} `json:"links_to_code"`
	Lang     string `json:"lang"`
	Markup   string `json:"markup"`
	Timeout  int    `json:"timeout_sec"`
	Callback struct {
		URL string `json:"url"`
	} `json:"callback"`
}

// ask answers as both do: 400 for what is wrong, 202 for all else, errors included.
func (s *Server) ask(take func(*Server, approverCall, *Post) (wrong string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		word, why := "decision", "reason"
		if strings.HasSuffix(r.URL.Path, "/execute") {
			word, why = "status", "result"
		}
		say := func(status int, decision, reason, id string) {
			answer(w, status, object{word: decision, why: reason, "correlation_id": id})
		}
		var in approverCall
		raw, err := readJSON(r, &in)
		if err != nil {
			say(http.StatusBadRequest, "error", "invalid json payload", "")
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if t := s.trouble(Approver); t != nil {
			s.approverTrouble(w, t, func(decision, reason string) { say(http.StatusAccepted, decision, reason, in.ID) })
			return
		}
		p := &Post{Channel: Approver, Chat: strings.TrimPrefix(r.URL.Path, "/approver/"), ID: in.ID, By: "bot", Raw: raw}
		wrong := take(s, in, p)
		switch {
		case strings.TrimSpace(in.ID) == "":
			wrong = "correlation_id is required"
		case in.Callback.URL == "":
			wrong = "callback.url is required for async approval"
		case len(in.ID) > 50 || strings.Contains(in.ID, "|"):
			wrong = "the correlation id does not fit into a button"
		}
		switch {
		case wrong != "":
			say(http.StatusBadRequest, "error", wrong, in.ID)
		case s.post(Approver, "", in.ID) != nil:
			say(http.StatusAccepted, "error", "approval already exists", in.ID)
		case in.Markup != "markdown" || utf8.RuneCountInString(p.Text) > 4096:
			say(http.StatusAccepted, "error", "failed to send telegram message", in.ID)
		default:
			for i := range p.Buttons {
				p.Buttons[i].url = in.Callback.URL
			}
			s.posts = append(s.posts, p)
			say(http.StatusAccepted, "pending", "queued", in.ID)
		}
	}
}

func (s *Server) approverTrouble(w http.ResponseWriter, t *Trouble, say func(decision, reason string)) {
	switch t.Kind {
	case "limit":
		w.Header().Set("Retry-After", fmt.Sprint(max(int(t.After.Seconds()), 1)))
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case "gone":
		http.Error(w, "404 page not found", http.StatusNotFound)
	case "unauthorized":
		http.Error(w, "who are you", http.StatusUnauthorized)
	case "moved":
		w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case "at once":
		say("approve", "by policy")
	case "silent":
		w.WriteHeader(http.StatusAccepted)
	case "failed":
		say("error", "failed to send telegram message")
	default:
		http.Error(w, "upstream connect error", http.StatusBadGateway)
	}
}

// approve checks a request for approval.
func (s *Server) approve(in approverCall, p *Post) string {
	var tool string
	if json.Unmarshal(in.Tool, &tool) != nil || tool == "" {
		return "tool is required"
	}
	for _, text := range []struct{ name, value string }{
		{"justification", in.Justification}, {"approval_request", in.Request}, {"risk_assessment", in.Risk},
	} {
		if n := utf8.RuneCountInString(strings.TrimSpace(text.value)); n < 10 || n > 500 {
			return text.name + " must be 10-500 characters"
		}
	}
	payload, err := json.MarshalIndent(in.Arguments, "", "  ")
	if err != nil {
		return "arguments"
	}
	lines := []string{"Approval required", "", in.Request, "", "Justification: " + in.Justification, "", "Links:"}
	for _, l := range in.Links[:min(len(in.Links), 5)] {
		if l.Text == "" || l.URL == "" {
			return "links_to_code items must include text and url"
		}
		lines = append(lines, "• "+l.Text)
	}
	lines = append(lines, "", "Risks", in.Risk, "", "Tool: "+tool, "Correlation: "+in.ID, "", string(payload))
	p.Text = strings.Join(lines, "\n") // Telegram does not count the addresses of links
	view := template.HTMLEscapeString(p.Text)
	for _, l := range in.Links[:min(len(in.Links), 5)] {
		text := template.HTMLEscapeString("• " + l.Text)
		view = strings.Replace(view, text, text+` (<a rel="noreferrer" href="`+template.HTMLEscapeString(l.URL)+`">`+template.HTMLEscapeString(l.URL)+`</a>)`, 1)
	}
	p.View = template.HTML(view)
	p.Buttons = []Button{{Label: "Approve", data: "approve"}, {Label: "Deny", data: "deny"}, {Label: "Deny with message", data: "deny_msg"}}
	return ""
}

// execute checks a question.
func (s *Server) execute(in approverCall, p *Post) string {
	var tool struct{ Name string }
	if json.Unmarshal(in.Tool, &tool) != nil || tool.Name == "" {
		return "tool.name is required"
	}
	question, _ := in.Arguments["question"].(string)
	background, _ := in.Arguments["context"].(string)
	options, _ := in.Arguments["options"].([]any)
	if n := utf8.RuneCountInString(question); n < 10 || n > 1000 {
		return "question must be 10-1000 characters"
	}
	if utf8.RuneCountInString(background) > 2000 || len(options) < 2 || len(options) > 5 {
		return "context is too long, or there are not 2 to 5 options"
	}
	lines := []string{question, "", background, ""}
	for i, o := range options {
		text, ok := o.(string)
		if !ok || text == "" || utf8.RuneCountInString(text) > 300 {
			return "options must be strings of 1-300 characters"
		}
		lines = append(lines, fmt.Sprintf("%d. %s", i+1, text))
		p.Buttons = append(p.Buttons, Button{Label: fmt.Sprintf("%d. %s", i+1, string([]rune(text)[:min(42, utf8.RuneCountInString(text))])), data: fmt.Sprintf("option|%d|%s", i, text)})
	}
	if in.Arguments["allow_custom"] == true {
		p.Buttons = append(p.Buttons, Button{Label: "Custom answer", data: "custom"})
	}
	p.Text = strings.Join(lines, "\n")
	p.View = template.HTML(template.HTMLEscapeString(p.Text))
	return ""
}

// approverClick decides, or opens a form for the words.
func (s *Server) approverClick(ctx context.Context, p Post, b Button, who Person) (Result, error) {
	if b.data == "deny_msg" || b.data == "custom" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forms = append(s.forms, &Form{Channel: Approver, Title: b.Label, Label: "Message", Person: who.Name, id: "A" + s.id(), state: b.data, url: b.url, chat: p.ID})
		return Result{}, nil
	}
	body := object{"correlation_id": p.ID, "decision": b.data, "reason": "", "tool": "tool"}
	if rest, ok := strings.CutPrefix(b.data, "option|"); ok {
		index, text, _ := strings.Cut(rest, "|")
		body = object{"correlation_id": p.ID, "status": "success", "tool": "question", "result": object{
			"question": "…", "selected_option": text, "selected_index": json.Number(index), "custom": false, "input_mode": "button",
		}}
	}
	return s.approverCallback(ctx, p.ID, b.url, b.Label, body)
}

func (s *Server) approverFill(ctx context.Context, f Form, text string) (Result, error) {
	body := object{"correlation_id": f.chat, "decision": "deny", "reason": text, "tool": "tool"}
	if f.state == "custom" {
		body = object{"correlation_id": f.chat, "status": "success", "tool": "question", "result": object{
			"question": "…", "selected_option": text, "selected_index": nil, "custom": true, "input_mode": "text",
		}}
	}
	return s.approverCallback(ctx, f.chat, f.url, f.Title+": "+text, body)
}

// GiveUp is the approver's own timeout.
func (s *Server) GiveUp(ctx context.Context, p Post) (Result, error) {
	body := object{"correlation_id": p.ID, "decision": "error", "reason": "approval timeout", "tool": "tool"}
	if p.Chat == "execute" {
		body = object{"correlation_id": p.ID, "status": "error", "result": "execution timeout", "tool": "question"}
	}
	return s.approverCallback(ctx, p.ID, p.Buttons[0].url, "timeout", body)
}

// approverCallback calls back once; then the message has no buttons any more.
func (s *Server) approverCallback(ctx context.Context, id, url, note string, body object) (Result, error) {
	s.mu.Lock()
	p := s.post(Approver, "", id)
	open := p != nil && len(p.Buttons) > 0
	if open {
		p.note(note)
	}
	s.mu.Unlock()
	if !open {
		return Result{}, fmt.Errorf("the approver has resolved %s already", id)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return Result{}, fmt.Errorf("writing a callback: %w", err)
	}
	return s.deliver(ctx, url, http.Header{}, "application/json", text)
}
