package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// Jira is a site of Jira Cloud. A target is the key of an issue, "OPS-12", which gets a comment, or of a project, "OPS"
// or "OPS/Approval", in which an issue is made (of the type Task, or the one named). People decide with a comment
// (/approve, /deny reason, /answer 2) or, of an issue of ours, by a transition.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/
type Jira struct {
	API      string          // of the site, "https://acme.atlassian.net"
	Email    string          // of the account whose Token it is
	Token    string          // API token
	Secrets  webhook.Secrets // of the webhook
	Approved []string        // statuses that say yes; none = Approved
	Denied   []string        // statuses that say no; none = Denied, Rejected, Declined
	Client   *http.Client    // NewClient
}

// jiraText is what a comment or description may have, in characters: https://jira.atlassian.com/browse/JRACLOUD-64351
const (
	jiraText    = 32_767
	jiraSummary = 255
)

var issueKey = regexp.MustCompile(`^[A-Z][A-Z0-9_]+-[0-9]+$`)

// Post comments on an issue, or makes one.
func (c *Jira) Post(ctx context.Context, target string, m events.ApprovalMessage) (Posted, error) {
	if issueKey.MatchString(target) {
		var sent struct {
			ID string `json:"id"`
		}
		if err := c.call(ctx, http.MethodPost, "issue/"+target+"/comment", object{"body": jiraDocument(m), "properties": jiraProperties(m)}, &sent); err != nil {
			return Posted{}, fmt.Errorf("commenting on %s for request %s: %w", target, m.RequestID, err)
		}
		return Posted{Ref: Ref{Chat: target, Message: sent.ID}}, nil
	}
	project, kind, _ := strings.Cut(target, "/")
	if kind == "" {
		kind = "Task"
	}
	fields := jiraFields(m)
	fields["project"], fields["issuetype"] = object{"key": project}, object{"name": kind}
	var sent struct {
		Key string `json:"key"`
	}
	if err := c.call(ctx, http.MethodPost, "issue", object{"fields": fields, "properties": jiraProperties(m)}, &sent); err != nil {
		return Posted{}, fmt.Errorf("making an issue in %s for request %s: %w", project, m.RequestID, err)
	}
	return Posted{Ref: Ref{Chat: sent.Key}}, nil
}

// jiraProperty is by what Find knows our issues and comments; people don't see it.
// https://developer.atlassian.com/cloud/jira/platform/jira-entity-properties/
const jiraProperty = "codexk8s"

type jiraShows struct {
	Request string `json:"request"`
}

func jiraProperties(m events.ApprovalMessage) []object {
	return []object{{"key": jiraProperty, "value": jiraShows{m.RequestID}}}
}

// Find looks for the request among our newest issues of the project, or the issue's newest comments; nil = it is not
// there. The search may know an issue only seconds after it was made.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/#api-rest-api-3-search-jql-post
func (c *Jira) Find(ctx context.Context, target string, m events.ApprovalMessage, _ time.Time) (*Ref, error) {
	var found struct {
		Issues []struct {
			Key        string               `json:"key"`
			Properties map[string]jiraShows `json:"properties"`
		} `json:"issues"`
		Comments []struct {
			ID         string `json:"id"`
			Properties []struct {
				Key   string    `json:"key"`
				Value jiraShows `json:"value"`
			} `json:"properties"`
		} `json:"comments"`
	}
	var body any
	path, method := "issue/"+target+"/comment?orderBy=-created&maxResults=100&expand=properties", http.MethodGet
	if !issueKey.MatchString(target) {
		project, _, _ := strings.Cut(target, "/")
		path, method, body = "search/jql", http.MethodPost, object{
			"jql":    fmt.Sprintf("project = %q AND creator = currentUser() ORDER BY created DESC", project),
			"fields": []string{"created"}, "properties": []string{jiraProperty}, "maxResults": 50,
		}
	}
	if err := c.call(ctx, method, path, body, &found); err != nil {
		return nil, fmt.Errorf("looking for request %s in %s: %w", m.RequestID, target, err)
	}
	for _, i := range found.Issues {
		if i.Properties[jiraProperty].Request == m.RequestID {
			return &Ref{Chat: i.Key}, nil
		}
	}
	for _, comment := range found.Comments {
		for _, p := range comment.Properties {
			if p.Key == jiraProperty && p.Value.Request == m.RequestID {
				return &Ref{Chat: target, Message: comment.ID}, nil
			}
		}
	}
	return nil, nil
}

// Edit makes the comment or the issue show the newest version.
func (c *Jira) Edit(ctx context.Context, ref Ref, m events.ApprovalMessage) error {
	path, body := "issue/"+url.PathEscape(ref.Chat), object{"fields": jiraFields(m)}
	if ref.Message != "" {
		path, body = path+"/comment/"+url.PathEscape(ref.Message), object{"body": jiraDocument(m)}
	}
	if err := c.call(ctx, http.MethodPut, path, body, nil); err != nil {
		return fmt.Errorf("changing what %s says of request %s: %w", ref.Chat, m.RequestID, err)
	}
	return nil
}

// Remind comments once more.
func (c *Jira) Remind(ctx context.Context, ref Ref, m events.ApprovalMessage, text string) (Posted, error) {
	body := object{"body": adf(adfParagraph(adfText(oneLine(text, 4000))))}
	if err := c.call(ctx, http.MethodPost, "issue/"+url.PathEscape(ref.Chat)+"/comment", body, nil); err != nil {
		return Posted{}, fmt.Errorf("reminding %s of request %s: %w", ref.Chat, m.RequestID, err)
	}
	return Posted{Ref: ref}, nil
}

// Ask has nothing to do: the reason stands in the comment.
func (c *Jira) Ask(context.Context, Callback) error { return nil }

// Tell comments, as a webhook's answer is shown to nobody. A program is told nothing: it might answer.
func (c *Jira) Tell(ctx context.Context, cb Callback, words string) error {
	if words == "" || cb.Ref.Chat == "" || cb.Why == "not_for_us" || cb.Why == reason.ByAProgram {
		return nil
	}
	_, err := c.Remind(ctx, cb.Ref, events.ApprovalMessage{}, words)
	return err
}

func jiraFields(m events.ApprovalMessage) object {
	l := lay(m)
	return object{"summary": oneLine(l.head+": "+l.title, jiraSummary), "description": jiraDocument(m)}
}

// jiraDocument is a message in the Atlassian Document Format, whose text nodes are shown as they are.
// https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
func jiraDocument(m events.ApprovalMessage) object {
	l := lay(m)
	l.fit(jiraText-10_000, jiraText/2) // the rest is for heads, links and the structure around them
	head := []object{adfBold(l.head), adfBreak, adfBold(l.title)}
	if l.context != "" {
		head = append(head, adfBreak, adfText(l.context))
	}
	content := []object{adfParagraph(head...)}
	for _, s := range l.sections {
		content = append(content, adfParagraph(adfBold(s.head)), object{"type": "codeBlock", "content": []object{adfText(s.text)}})
	}
	if len(l.links) > 0 {
		items := []object{adfBold(l.words.links)}
		for _, k := range l.links {
			items = append(items, adfBreak, adfText(k.text+" ("), adfLink(k.url, k.host), adfText(")"))
		}
		content = append(content, adfParagraph(items...))
	}
	if l.outcome != "" {
		content = append(content, adfParagraph(adfBold(l.outcome)))
	}
	if len(l.buttons) > 0 {
		content = append(content, adfParagraph(adfText(l.words.comment+" "), adfCode(jiraCommands(m))))
	}
	foot := []object{adfText(l.foot)}
	if l.issue != "" {
		words := l.words.issue
		if l.cut {
			words = l.words.all + " " + l.issue
		}
		foot = append(foot, adfBreak, adfLink(l.issue, words))
	}
	return adf(append(content, adfParagraph(foot...))...)
}

// jiraCommands are what may be written.
func jiraCommands(m events.ApprovalMessage) string {
	digest := oneLine(m.Digest, 12)
	if m.Kind == events.KindQuestion {
		return "/answer " + digest + " 1"
	}
	return "/approve " + digest + " · /deny " + digest + " …"
}

func adf(content ...object) object {
	return object{"type": "doc", "version": 1, "content": content}
}

var adfBreak = object{"type": "hardBreak"}

func adfParagraph(content ...object) object { return object{"type": "paragraph", "content": content} }

func adfText(s string) object {
	if s == "" {
		s = " " // an empty text node is refused
	}
	return object{"type": "text", "text": s}
}

func adfMarked(s string, mark object) object {
	o := adfText(s)
	o["marks"] = []object{mark}
	return o
}

func adfBold(s string) object { return adfMarked(s, object{"type": "strong"}) }
func adfCode(s string) object { return adfMarked(s, object{"type": "code"}) }

func adfLink(address, s string) object {
	return adfMarked(s, object{"type": "link", "attrs": object{"href": address}})
}

func (c *Jira) call(ctx context.Context, method, path string, body, to any) error {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(c.Email, c.Token)
	a, err := call(ctx, c.Client, method, strings.TrimRight(c.API, "/")+"/rest/api/3/"+path, r.Header, body)
	if err != nil {
		return fmt.Errorf("calling Jira: %w", err)
	}
	if a.status < 300 {
		if to != nil && json.Unmarshal(a.body, to) != nil {
			return fmt.Errorf("jira answered %d and no JSON", a.status)
		}
		return nil
	}
	words := fmt.Sprintf("%d %s", a.status, said(a.body))
	why := map[int]string{401: reason.Unauthorized, 403: reason.Unauthorized, 404: reason.NotFound, 410: reason.NotFound, 413: reason.TooLarge}[a.status]
	switch {
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
		return &Later{Channel: approval.Jira, After: retryAfter(a.header), Said: words}
	case a.status >= 500, a.status == http.StatusConflict:
		return fmt.Errorf("jira answered %s", words)
	case strings.Contains(words, "CONTENT_LIMIT_EXCEEDED"):
		why = reason.TooLarge
	case why == "":
		why = reason.Rejected
	}
	return &Refused{Channel: approval.Jira, Reason: why, Said: words}
}
