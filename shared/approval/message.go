package approval

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/plain"
)

// Message is what all channels show of the ticket. We render it from what will be done, so it can't differ from the
// arguments: characters without a visible form are spelt out, and a value that could be misread, such as several lines
// or a number in quotes, is shown as JSON.
func (t Ticket) Message() Message {
	r, w := t.Request, t.words()
	m := Message{
		RequestID: r.ID, Digest: ShortDigest(r), Version: t.Version, Lang: t.Terms.Lang, Kind: r.Kind, State: t.State,
		Action: line(r.Action), Title: line(r.Title), Arguments: r.Arguments, Fields: fields(r.Arguments),
		Justification: visible(r.Justification), Risk: visible(r.Risk), FreeText: r.FreeText,
		Context:  fmt.Sprintf(w.Context, r.Repository, r.Issue, r.Stage, r.Role, r.RequestedBy.Login),
		IssueURL: r.IssueURL, Deadline: t.Expires, Quorum: max(t.Terms.Quorum, 1),
	}
	for _, o := range r.Options {
		m.Options = append(m.Options, line(o))
	}
	for _, l := range r.Links {
		m.Links = append(m.Links, Link{Text: line(l.Text), URL: l.URL})
	}
	for _, c := range t.Votes {
		v := VoteLine{Who: t.who(c), Choice: c.Vote.Choice, Text: visible(c.Vote.Text), At: c.Vote.At}
		if c.Vote.Option > 0 {
			v.Text = m.Options[c.Vote.Option-1]
		}
		m.Votes = append(m.Votes, v)
	}
	if t.State.Final() {
		m.Outcome = t.ended()
	}
	return m
}

func (t Ticket) words() *words.Words { return words.In(t.Terms.Lang) }

// who is a voter as people read it.
func (t Ticket) who(c Cast) string {
	if c.For == "" {
		return c.Who
	}
	return fmt.Sprintf(t.words().InPlace, c.Who, c.For)
}

// ended says how the ticket ended, in one line.
func (t Ticket) ended() string {
	w, o := t.words(), t.Outcome
	if because := w.Because[o.Reason]; because != "" {
		return because
	}
	said := w.Ended[string(t.State)]
	if strings.Contains(said, "%s") {
		said = fmt.Sprintf(said, strings.Join(o.By, ", "))
	}
	return said
}

// fields are the arguments as people read them, sorted by name.
func fields(arguments json.RawMessage) []Field {
	var values map[string]json.RawMessage
	if len(arguments) == 0 || json.Unmarshal(arguments, &values) != nil {
		return nil
	}
	var all []Field
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, Field{Name: line(name), Value: value(values[name])})
	}
	return all
}

// value is a text as it is, if it can't be misread; otherwise it is JSON.
func value(v json.RawMessage) string {
	var text string
	if json.Unmarshal(v, &text) != nil {
		return visible(string(v))
	}
	if text == "" || strings.TrimSpace(text) != text || strings.ContainsAny(text, "\n\t") || json.Valid([]byte(text)) {
		return visible(string(v))
	}
	return visible(text)
}

// visible spells out what has no visible form.
func visible(s string) string {
	s, _ = plain.SpellOut(plain.Text(s))
	return s
}

// line is text in one line.
func line(s string) string { return visible(strings.Join(strings.Fields(s), " ")) }
