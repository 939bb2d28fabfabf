package chat_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// TestLongMessagesAreCut: whatever is asked, every channel takes it, says that it was cut and where all of it is, and
// keeps the buttons and the head of every part. The fakes refuse what is too long.
func TestLongMessagesAreCut(t *testing.T) {
	for what, text := range map[string]string{
		"words": "lorem ipsum dolor ", "markup": "<&>*_`[", "emoji": "👩‍👩‍👧", "unseen": "\u202e", "fences": "```\n",
	} {
		w := newWorld(t)
		for name, c := range w.channels {
			t.Run(what+" in "+name, func(t *testing.T) {
				for _, m := range []events.ApprovalMessage{long(secretSync(), text), long(question(), text), decided(long(secretSync(), text))} {
					posted, err := c.Post(ctx(t), targets[name], m)
					if err != nil {
						t.Fatal(err)
					}
					if name == approval.HTTP && m.State.Final() {
						continue // nobody is asked
					}
					p := w.newest(name)
					shown := string(p.View)
					if m.Kind == events.KindApproval && (!strings.Contains(shown, "All of it") || !strings.Contains(shown, m.IssueURL)) {
						t.Errorf("it is not said that it was cut:\n%s", shown)
					}
					if m.State == approval.Open && len(p.Buttons) < 2 && name != approval.Jira {
						t.Errorf("there are the buttons %v", p.Buttons)
					}
					if err := c.Edit(ctx(t), posted.Ref, decided(m)); err != nil {
						t.Error(err)
					}
					if _, err := c.Remind(ctx(t), posted.Ref, m, strings.Repeat(text, 100)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

func long(m events.ApprovalMessage, text string) events.ApprovalMessage {
	text = strings.Repeat(text, 4_000/len(text))
	m.Title, m.Context, m.Justification, m.Risk, m.Outcome = text, text, text, text, text
	for i := range 12 {
		m.Fields = append(m.Fields, events.ApprovalField{Name: fmt.Sprint(i, text), Value: text})
		m.Votes = append(m.Votes, events.ApprovalVoteLine{Who: text, Choice: events.Approve, Text: text})
		m.Links = append(m.Links, events.ApprovalLink{Text: text, URL: "https://example.com/" + strings.Repeat("x", 450)})
	}
	m.Arguments, _ = json.Marshal(map[string]string{"script": text}) // of a text: never an error
	for i := range m.Options {
		m.Options[i] = text
	}
	return m
}
