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
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The fake Jira: every project is there, and every issue below 100 of it. A post is a comment, or a new issue, whose
// buttons are its transitions. https://developer.atlassian.com/cloud/jira/platform/rest/v3/

func (s *Server) jiraRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /jira/rest/api/3/issue", s.jira(func(in jiraCall, p *Post, _ *http.Request) error {
		f := in.Fields
		if f.Project.Key == "" || f.Type.Name == "" || f.Summary == "" || utf8.RuneCountInString(f.Summary) > 255 {
			return errors.New("project, issuetype and summary are required")
		}
		p.Chat = fmt.Sprintf("%s-%s", f.Project.Key, s.id())
		p.ID, p.Buttons = p.Chat, []Button{{Label: "Approved", data: "Approved"}, {Label: "Rejected", data: "Rejected"}}
		return p.takeJira(f.Summary, f.Description)
	}))
	mux.HandleFunc("PUT /jira/rest/api/3/issue/{key}", s.jira(func(in jiraCall, p *Post, _ *http.Request) error {
		return p.takeJira(in.Fields.Summary, in.Fields.Description)
	}))
	mux.HandleFunc("POST /jira/rest/api/3/issue/{key}/comment", s.jira(func(in jiraCall, p *Post, r *http.Request) error {
		p.Chat, p.ID = r.PathValue("key"), s.id()
		return p.takeJira("", in.Body)
	}))
	mux.HandleFunc("GET /jira/rest/api/3/issue/{key}/comment", s.jiraFind(func(_ string, r *http.Request) object {
		comments := []object{}
		for _, p := range s.posts {
			if p.Channel == Jira && p.Chat == r.PathValue("key") && p.ID != p.Chat {
				comments = append(comments, object{"id": p.ID, "properties": p.metadata})
			}
		}
		return object{"comments": comments}
	}))
	mux.HandleFunc("POST /jira/rest/api/3/search/jql", s.jiraFind(func(jql string, _ *http.Request) object {
		project, issues := jiraQuery.FindStringSubmatch(jql), []object{}
		for _, p := range s.posts {
			if project != nil && p.Channel == Jira && p.ID == p.Chat && strings.HasPrefix(p.Chat, project[1]+"-") {
				issues = append(issues, object{"key": p.Chat, "properties": p.properties()})
			}
		}
		return object{"issues": issues}
	}))
	mux.HandleFunc("PUT /jira/rest/api/3/issue/{key}/comment/{id}", s.jira(func(in jiraCall, p *Post, _ *http.Request) error {
		return p.takeJira("", in.Body)
	}))
}

// jiraQuery is the one search that is understood.
var jiraQuery = regexp.MustCompile(`^project = "([A-Z]+)" AND creator = currentUser\(\) ORDER BY created DESC$`)

// properties are those of an issue as a search shows them.
func (p *Post) properties() object {
	var all []struct {
		Key   string
		Value json.RawMessage
	}
	shown := object{}
	if json.Unmarshal(p.metadata, &all) == nil {
		for _, one := range all {
			shown[one.Key] = one.Value
		}
	}
	return shown
}

// jiraFind answers a question about what is there. The mutex is held.
func (s *Server) jiraFind(find func(jql string, r *http.Request) object) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			JQL string `json:"jql"`
		}
		_, err := readJSON(r, &in)
		s.mu.Lock()
		defer s.mu.Unlock()
		_, password, _ := r.BasicAuth()
		switch t := s.trouble(Jira); {
		case password != Token || t != nil:
			answer(w, http.StatusUnauthorized, object{"errorMessages": []string{"Client must be authenticated to access this resource."}})
		case err != nil:
			answer(w, http.StatusBadRequest, object{"errorMessages": []string{err.Error()}})
		default:
			answer(w, http.StatusOK, find(in.JQL, r))
		}
	}
}

type jiraCall struct {
	Properties json.RawMessage `json:"properties"`
	Body       *adfNode        `json:"body"`
	Fields     struct {
		Project     struct{ Key string }  `json:"project"`
		Type        struct{ Name string } `json:"issuetype"`
		Summary     string                `json:"summary"`
		Description *adfNode              `json:"description"`
	} `json:"fields"`
}

type adfNode struct {
	Type    string    `json:"type"`
	Version int       `json:"version"`
	Text    string    `json:"text"`
	Content []adfNode `json:"content"`
	Marks   []struct {
		Type  string `json:"type"`
		Attrs struct {
			Href string `json:"href"`
		} `json:"attrs"`
	} `json:"marks"`
}

var jiraKey = regexp.MustCompile(`^[A-Z]+-[0-9]+$`)

func (s *Server) jira(take func(jiraCall, *Post, *http.Request) error) http.HandlerFunc {
	refuse := func(w http.ResponseWriter, status int, why string) {
		answer(w, status, object{"errorMessages": []string{why}, "errors": object{}})
	}
	return func(w http.ResponseWriter, r *http.Request) {
		var in jiraCall
		raw, err := readJSON(r, &in)
		s.mu.Lock()
		defer s.mu.Unlock()
		t := s.trouble(Jira)
		_, password, _ := r.BasicAuth()
		key, id := r.PathValue("key"), r.PathValue("id")
		p, created := &Post{Channel: Jira, By: "bot"}, r.Method == http.MethodPost
		if !created {
			if id == "" {
				id = key
			}
			p = s.post(Jira, key, id)
		}
		switch {
		case password != Token || t != nil && t.Kind == "unauthorized":
			refuse(w, http.StatusUnauthorized, "Client must be authenticated to access this resource.")
		case t != nil && t.Kind == "limit":
			w.Header().Set("Retry-After", strconv.Itoa(max(int(t.After.Seconds()), 1)))
			refuse(w, http.StatusTooManyRequests, "Rate limit exceeded.")
		case t != nil && t.Kind == "down":
			http.Error(w, "upstream", http.StatusBadGateway)
		case t != nil || p == nil || key != "" && !jiraKey.MatchString(key):
			refuse(w, http.StatusNotFound, "Issue does not exist or you do not have permission to see it.")
		case err != nil:
			refuse(w, http.StatusBadRequest, err.Error())
		default:
			if err := take(in, p, r); err != nil {
				refuse(w, http.StatusBadRequest, err.Error())
				return
			}
			p.Raw = raw
			if created {
				p.metadata = in.Properties
				s.posts = append(s.posts, p)
				answer(w, http.StatusCreated, object{"id": p.ID, "key": p.Chat})
				return
			}
			p.Edits++
			answer(w, http.StatusOK, object{"id": p.ID})
		}
	}
}

// takeJira checks a document, and keeps it.
func (p *Post) takeJira(summary string, doc *adfNode) error {
	if doc == nil || doc.Type != "doc" || doc.Version != 1 {
		return errors.New("INVALID_INPUT")
	}
	var text, view strings.Builder
	if summary != "" {
		text.WriteString(summary + "\n")
		view.WriteString("<b>" + template.HTMLEscapeString(summary) + "</b>\n")
	}
	if err := doc.show(&text, &view); err != nil {
		return err
	}
	if utf8.RuneCountInString(text.String()) > 32_767 {
		return errors.New("CONTENT_LIMIT_EXCEEDED")
	}
	p.Text, p.View = text.String(), template.HTML(view.String())
	return nil
}

func (n adfNode) show(text, view *strings.Builder) error {
	before, after := "", ""
	switch n.Type {
	case "doc":
	case "paragraph":
		after = "\n\n"
	case "codeBlock":
		before, after = "<pre>", "</pre>\n"
		for _, c := range n.Content {
			if c.Type != "text" || len(c.Marks) > 0 {
				return errors.New("INVALID_INPUT: codeBlock holds plain text")
			}
		}
	case "hardBreak":
		after = "\n"
	case "text":
		if n.Text == "" {
			return errors.New("INVALID_INPUT: empty text")
		}
		for _, m := range n.Marks {
			switch m.Type {
			case "strong":
				before, after = "<b>", "</b>"
			case "code":
				before, after = "<code>", "</code>"
			case "link":
				before, after = `<a rel="noreferrer" href="`+template.HTMLEscapeString(m.Attrs.Href)+`">`, "</a>"
			default:
				return errors.New("INVALID_INPUT: mark " + m.Type)
			}
		}
	default:
		return errors.New("INVALID_INPUT: node " + n.Type)
	}
	view.WriteString(before + template.HTMLEscapeString(n.Text))
	text.WriteString(n.Text)
	for _, c := range n.Content {
		if err := c.show(text, view); err != nil {
			return err
		}
	}
	view.WriteString(after)
	if strings.HasSuffix(after, "\n") {
		text.WriteString("\n")
	}
	return nil
}

func jiraUser(p Person) object {
	return object{"accountId": "account-" + strconv.FormatInt(p.ID, 10), "displayName": p.Name, "accountType": "atlassian"}
}

// jiraClick makes a transition of an issue.
func (s *Server) jiraClick(ctx context.Context, p Post, b Button, who Person) (Result, error) {
	s.mu.Lock()
	id := s.id()
	s.mu.Unlock()
	return s.jiraCallback(ctx, object{
		"webhookEvent": "jira:issue_updated", "user": jiraUser(who), "issue": object{"id": "1", "key": p.Chat, "fields": object{}},
		"changelog": object{"id": id, "items": []object{{"field": "status", "fieldtype": "jira", "fromString": "To Do", "toString": b.data}}},
	})
}

// jiraReply comments on an issue.
func (s *Server) jiraReply(ctx context.Context, key, text string, who Person) (Result, error) {
	s.mu.Lock()
	p := &Post{Channel: Jira, Chat: key, ID: s.id(), By: who.Name, Text: text, View: template.HTML(template.HTMLEscapeString(text))}
	s.posts = append(s.posts, p)
	s.mu.Unlock()
	return s.jiraCallback(ctx, object{
		"webhookEvent": "comment_created", "issue": object{"id": "1", "key": key}, "comment": object{"id": p.ID, "body": text, "author": jiraUser(who)},
	})
}

// jiraCallback signs as https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks says.
func (s *Server) jiraCallback(ctx context.Context, body object) (Result, error) {
	body["timestamp"] = s.o.Now().UnixMilli()
	text, err := json.Marshal(body)
	if err != nil {
		return Result{}, fmt.Errorf("writing a webhook: %w", err)
	}
	sum := hmac.New(sha256.New, []byte(s.o.Secret))
	sum.Write(text)
	header := http.Header{"X-Hub-Signature": {"sha256=" + hex.EncodeToString(sum.Sum(nil))}, "X-Atlassian-Webhook-Identifier": {fmt.Sprint(body["timestamp"])}}
	return s.deliver(ctx, s.callback(Jira), header, "application/json", text)
}
