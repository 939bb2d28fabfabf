package fakechat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
)

// The fake Mattermost: every channel whose id has 26 letters and digits is there.
// https://developers.mattermost.com/api-documentation/

func (s *Server) mattermostRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /mattermost/api/v4/posts", s.mattermost(func(s *Server, r *http.Request, in mattermostCall) (int, object) {
		if !mattermostID.MatchString(in.Channel) {
			return mattermostRefusal(404, "api.context.404.app_error", "There is no such channel.")
		}
		if root := s.post(Mattermost, in.Channel, in.Root); in.Root != "" && (root == nil || root.ReplyTo != "") {
			return mattermostRefusal(400, "api.post.create_post.root_id.app_error", "Invalid RootId parameter.")
		}
		p := &Post{Channel: Mattermost, Chat: in.Channel, ID: fmt.Sprintf("post%022s", s.id()), ReplyTo: in.Root, By: "bot"}
		if status, refusal := p.takeMattermost(in); refusal != nil {
			return status, refusal
		}
		s.posts = append(s.posts, p)
		return http.StatusCreated, object{"id": p.ID, "channel_id": p.Chat}
	}))
	mux.HandleFunc("GET /mattermost/api/v4/channels/{channel}/posts", s.mattermost(func(s *Server, r *http.Request, _ mattermostCall) (int, object) {
		if r.FormValue("since") == "" {
			return mattermostRefusal(400, "api.context.invalid_url_param.app_error", "Invalid or missing since parameter in request URL.")
		}
		posts := object{}
		for _, p := range s.posts {
			if p.Channel == Mattermost && p.Chat == r.PathValue("channel") {
				posts[p.ID] = object{"id": p.ID, "channel_id": p.Chat, "root_id": p.ReplyTo, "delete_at": 0, "props": object{"codexk8s_request": p.request}}
			}
		}
		return http.StatusOK, object{"posts": posts}
	}))
	mux.HandleFunc("PUT /mattermost/api/v4/posts/{id}/patch", s.mattermost(func(s *Server, r *http.Request, in mattermostCall) (int, object) {
		p := s.post(Mattermost, "", r.PathValue("id"))
		if p == nil {
			return mattermostRefusal(404, "app.post.get.app_error", "Unable to get the post.")
		}
		if status, refusal := p.takeMattermost(in); refusal != nil {
			return status, refusal
		}
		p.Edits++
		return http.StatusOK, object{"id": p.ID, "channel_id": p.Chat}
	}))
	mux.HandleFunc("POST /mattermost/api/v4/actions/dialogs/open", s.mattermost(func(s *Server, _ *http.Request, in mattermostCall) (int, object) {
		trigger := strings.Split(in.Trigger, ".")
		d := in.Dialog
		if len(trigger) != 4 || s.used[in.Trigger] || d.Title == "" || utf8.RuneCountInString(d.Title) > 24 || len(d.Elements) != 1 ||
			utf8.RuneCountInString(d.Elements[0].DisplayName) > 24 || d.Elements[0].Type != "textarea" || d.Elements[0].Max > 3000 {
			return mattermostRefusal(400, "interactive_message.decode_trigger_id.expired", "The trigger or the dialog is invalid.")
		}
		s.used[in.Trigger] = true
		s.forms = append(s.forms, &Form{
			Channel: Mattermost, Title: d.Title, Label: d.Elements[0].DisplayName, Person: trigger[1], id: "D" + s.id(), state: d.State,
			url: in.URL, chat: trigger[2], element: d.Elements[0].Name,
		})
		return http.StatusOK, object{"status": "OK"}
	}))
}

var mattermostID = regexp.MustCompile(`^[a-z0-9]{26}$`)
var mattermostAction = regexp.MustCompile(`^[A-Za-z0-9]+$`)

type mattermostCall struct {
	Channel string          `json:"channel_id"`
	Root    string          `json:"root_id"`
	Message string          `json:"message"`
	Props   mattermostProps `json:"props"`
	Trigger string          `json:"trigger_id"`
	URL     string          `json:"url"`
	Dialog  struct {
		Title, State string
		Elements     []struct {
			DisplayName string `json:"display_name"`
			Name, Type  string
			Max         int `json:"max_length"`
		}
	} `json:"dialog"`
	raw json.RawMessage
}

type mattermostProps struct {
	Request     string `json:"codexk8s_request"`
	Attachments []struct {
		Text    string `json:"text"`
		Actions []struct {
			ID, Type, Name, Style string
			Integration           struct {
				URL     string          `json:"url"`
				Context json.RawMessage `json:"context"`
			} `json:"integration"`
		} `json:"actions"`
	} `json:"attachments"`
}

func mattermostRefusal(status int, id, message string) (int, object) {
	return status, object{"id": id, "message": message, "detailed_error": "", "status_code": status}
}

func (s *Server) mattermost(run func(*Server, *http.Request, mattermostCall) (int, object)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in mattermostCall
		raw, err := readJSON(r, &in)
		in.raw = raw
		s.mu.Lock()
		defer s.mu.Unlock()
		t := s.trouble(Mattermost)
		var status int
		var body object
		switch {
		case r.Header.Get("Authorization") != "Bearer "+Token || t != nil && t.Kind == "unauthorized":
			status, body = mattermostRefusal(401, "api.context.session_expired.app_error", "Invalid or expired session, please login again.")
		case err != nil:
			status, body = mattermostRefusal(400, "api.context.invalid_body_param.app_error", err.Error())
		case t != nil && t.Kind == "limit":
			w.Header().Set("Retry-After", strconv.Itoa(max(int(t.After.Seconds()), 1)))
			status, body = mattermostRefusal(429, "", "limit exceeded")
		case t != nil && t.Kind == "kicked":
			status, body = mattermostRefusal(403, "api.context.permissions.app_error", "You do not have the appropriate permissions.")
		case t != nil && t.Kind == "gone":
			status, body = mattermostRefusal(400, "api.post.create_post.can_not_post_to_deleted.error", "Can not post to deleted channel.")
		case t != nil:
			status, body = 502, object{}
		default:
			status, body = run(s, r, in)
		}
		answer(w, status, body)
	}
}

var mattermostMarkdown = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithHardWraps()))

// takeMattermost checks a post, and keeps it.
func (p *Post) takeMattermost(in mattermostCall) (int, object) {
	text := in.Message
	if utf8.RuneCountInString(text) > 16_383 {
		return mattermostRefusal(400, "model.post.is_valid.message_length.app_error", "Post Message property is longer than the maximum permitted length.")
	}
	if len(in.raw) > 800_000 {
		return mattermostRefusal(400, "model.post.is_valid.props.app_error", "Invalid props.")
	}
	var buttons []Button
	for _, a := range in.Props.Attachments {
		if text += a.Text; utf8.RuneCountInString(a.Text) > 16_383 {
			return mattermostRefusal(400, "model.post.is_valid.props.app_error", "Invalid props.")
		}
		for _, b := range a.Actions {
			if !mattermostAction.MatchString(b.ID) || b.Type != "button" || b.Name == "" || b.Integration.URL == "" {
				return mattermostRefusal(400, "api.post.create_post.actions", "Invalid action.")
			}
			buttons = append(buttons, Button{Label: b.Name, Style: b.Style, data: string(b.Integration.Context), url: b.Integration.URL})
		}
	}
	var out bytes.Buffer
	if err := mattermostMarkdown.Convert([]byte(text), &out); err != nil || strings.TrimSpace(text) == "" {
		return mattermostRefusal(400, "api.context.invalid_param.app_error", "Invalid message.")
	}
	p.Text, p.View, p.Buttons, p.Raw, p.request = text, template.HTML(out.String()), buttons, in.raw, in.Props.Request
	return 0, nil
}

func mattermostUser(p Person) string { return fmt.Sprintf("user%022d", p.ID) }

func (s *Server) mattermostClick(ctx context.Context, p Post, b Button, who Person) (Result, error) {
	s.mu.Lock()
	trigger := "trigger." + who.Name + "." + p.Chat + "." + s.id()
	s.mu.Unlock()
	return s.mattermostCallback(ctx, b.url, who, object{
		"user_id": mattermostUser(who), "user_name": who.Name, "channel_id": p.Chat, "post_id": p.ID, "team_id": "team", "trigger_id": trigger, "type": "",
		"data_source": "", "context": json.RawMessage(b.data),
	})
}

func (s *Server) mattermostFill(ctx context.Context, f Form, text string, who Person) (Result, error) {
	return s.mattermostCallback(ctx, f.url, who, object{
		"type": "dialog_submission", "callback_id": "codexk8s", "state": f.state, "user_id": mattermostUser(who), "channel_id": f.chat, "team_id": "team",
		"submission": object{f.element: text}, "cancelled": false,
	})
}

func (s *Server) mattermostLink(ctx context.Context, code string, who Person) (Result, error) {
	form := url.Values{"token": {s.o.Secret}, "command": {"/codexk8s"}, "text": {"link " + code}, "user_id": {mattermostUser(who)}, "user_name": {who.Name}, "channel_id": {"direct"}}
	res, err := s.deliver(ctx, s.callback(Mattermost), http.Header{}, "application/x-www-form-urlencoded", []byte(form.Encode()))
	s.mattermostTold(who, res)
	return res, err
}

func (s *Server) mattermostCallback(ctx context.Context, url string, who Person, body object) (Result, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return Result{}, fmt.Errorf("writing a callback: %w", err)
	}
	res, err := s.deliver(ctx, url, http.Header{}, "application/json", text)
	s.mattermostTold(who, res)
	return res, err
}

// mattermostTold shows what an answer says.
func (s *Server) mattermostTold(who Person, res Result) {
	var in map[string]any
	if json.Unmarshal([]byte(res.Body), &in) != nil {
		return
	}
	for _, field := range []string{"ephemeral_text", "error", "text"} {
		if words, ok := in[field].(string); ok {
			s.tell(Mattermost, who.Name, words)
		}
	}
}
