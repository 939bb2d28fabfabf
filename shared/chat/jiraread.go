package chat

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// jiraWindow is for how long Jira tries to deliver a webhook, with room to spare: five times, up to a quarter of an
// hour apart.
// https://developer.atlassian.com/cloud/jira/platform/webhooks/
const jiraWindow = 24 * time.Hour

type jiraUser struct {
	ID   string `json:"accountId"`
	Name string `json:"displayName"`
	Type string `json:"accountType"` // atlassian, app, customer
}

// jiraEvent is what we read of comment_created and jira:issue_updated.
type jiraEvent struct {
	Stamp   int64    `json:"timestamp"` // milliseconds since 1970
	Event   string   `json:"webhookEvent"`
	User    jiraUser `json:"user"`
	Comment struct {
		ID     string          `json:"id"`
		Body   json.RawMessage `json:"body"` // text, or a document
		Author jiraUser        `json:"author"`
	} `json:"comment"`
	Issue struct {
		Key string `json:"key"`
	} `json:"issue"`
	Changelog struct {
		ID    string `json:"id"`
		Items []struct {
			Field string `json:"field"`
			To    string `json:"toString"`
		} `json:"items"`
	} `json:"changelog"`
}

// Read takes a new comment with a command, or a transition. Edited and deleted comments say nothing. A vote has no
// request's id: whoever keeps the references knows which request its issue (Ref.Chat) is about, and Vote.Digest tells
// several apart.
func (c *Jira) Read(r *http.Request, body []byte, now time.Time) (Callback, error) {
	if err := bounded(body); err != nil {
		return Callback{}, err
	}
	if err := c.Secrets.Verify(r.Header.Get("X-Hub-Signature"), body); err != nil {
		why := reason.WrongSignature
		if errors.Is(err, webhook.ErrNoSignature) {
			why = reason.NoSignature
		}
		return Callback{}, forged(why, "Jira's header X-Hub-Signature: compare the webhook's secret with ours")
	}
	var e jiraEvent
	if err := plain.Unmarshal(body, &e); err != nil {
		return Callback{}, malformed("a webhook of Jira: %v", err)
	}
	if now.Sub(time.UnixMilli(e.Stamp)).Abs() > jiraWindow {
		return Callback{}, forged(reason.Stale, "the webhook's timestamp is not of the last day")
	}
	cb := Callback{Kind: Nothing, Why: "not_for_us", Ref: Ref{Chat: oneLine(e.Issue.Key, 64)}}
	who := e.User
	if e.Event == "comment_created" {
		who = e.Comment.Author
	}
	cb.Vote.At = at(time.UnixMilli(e.Stamp))
	cb.Vote.By = events.Voter{Channel: approval.Jira, Account: oneLine(who.ID, 128), Name: oneLine(who.Name, 100), Chat: cb.Ref.Chat}
	switch {
	case who.ID == "" || e.Issue.Key == "":
	case e.Event == "comment_created":
		readJiraComment(&cb, e)
	case e.Event == "jira:issue_updated":
		c.readTransition(&cb, e)
	}
	if who.Type == "app" && cb.Why != "not_for_us" {
		cb.Kind, cb.Why = Nothing, reason.ByAProgram
	}
	return cb, nil
}

var jiraCommand = regexp.MustCompile(`(?s)^/(approve|deny|answer)\b(?:\s+([0-9a-f]{12})\b)?\s*(.*)$`)

func readJiraComment(cb *Callback, e jiraEvent) {
	text := strings.TrimSpace(adfRead(e.Comment.Body))
	if link := linkCommand.FindStringSubmatch(text); link != nil {
		cb.Kind, cb.Why, cb.Code = Linked, "", link[1]
		return
	}
	found := jiraCommand.FindStringSubmatch(text)
	if found == nil {
		return
	}
	v := &cb.Vote
	v.ID, v.Choice, v.Digest, v.Text = "jira:comment:"+oneLine(e.Comment.ID, 64), events.Choice(found[1]), found[2], inWords(found[3])
	if option, err := strconv.Atoi(v.Text); err == nil && v.Choice == events.Answer && option >= 1 && option <= 5 {
		v.Option, v.Text = option, ""
	}
	if v.Choice == events.Answer && v.Option == 0 && v.Text == "" {
		cb.Why = reason.NoWords
		return
	}
	cb.Kind, cb.Why = Voted, ""
}

func (c *Jira) readTransition(cb *Callback, e jiraEvent) {
	yes, no := c.Approved, c.Denied
	if len(yes) == 0 {
		yes = []string{"Approved"}
	}
	if len(no) == 0 {
		no = []string{"Denied", "Rejected", "Declined"}
	}
	for _, item := range e.Changelog.Items {
		is := func(status string) bool { return strings.EqualFold(status, item.To) }
		switch {
		case item.Field != "status":
			continue
		case slices.ContainsFunc(yes, is):
			cb.Vote.Choice = events.Approve
		case slices.ContainsFunc(no, is):
			cb.Vote.Choice = events.Deny
		default:
			continue
		}
		cb.Kind, cb.Why, cb.Whole, cb.Vote.ID = Voted, "", true, "jira:changelog:"+oneLine(e.Changelog.ID, 64)
	}
}

// adfNode is what we read of a document.
type adfNode struct {
	Type    string    `json:"type"`
	Text    string    `json:"text"`
	Content []adfNode `json:"content"`
}

// adfRead is the text of a comment: of Jira's old webhooks a text, of the new ones a document.
func adfRead(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var doc adfNode
	if json.Unmarshal(raw, &doc) != nil {
		return ""
	}
	var b strings.Builder
	doc.write(&b, 0)
	return b.String()
}

const adfDepth = 50 // more than Jira's editor can make

func (n adfNode) write(b *strings.Builder, depth int) {
	if depth > adfDepth || b.Len() > maxReadable {
		return
	}
	b.WriteString(n.Text)
	for _, c := range n.Content {
		c.write(b, depth+1)
	}
	if n.Type == "paragraph" || n.Type == "hardBreak" {
		b.WriteString("\n")
	}
}
