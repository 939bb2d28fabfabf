package chat

import (
	"fmt"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
)

// A layout is what a message says, in order, before it is written in a channel's markup. All texts are readable, none
// is escaped.
type layout struct {
	words    words
	head     string // ours: what it is, or how it ended
	title    string
	context  string // whose work it is
	outcome  string
	sections []section
	links    []link
	foot     string // ours: until when, and the digest
	digest   string // by which a written command names the request
	issue    string // address of the issue; "" = none
	cut      bool
	buttons  []button // none when it is decided
}

// A section is a head of ours over what somebody else wrote.
type section struct{ head, text string }

// A button is one choice.
type button struct {
	means byte
	text  string
}

const (
	maxTitle   = 200 // characters
	maxContext = 300
	maxOutcome = 500
	maxOption  = 300
	maxLinks   = 5
	maxVotes   = 10
	maxReason  = 200 // of a vote
)

// lay makes a layout of a message.
func lay(m events.ApprovalMessage) layout {
	w := wordsIn(m.Lang)
	l := layout{
		words: w, head: w.state[m.State], title: oneLine(m.Title, maxTitle), context: oneLine(m.Context, maxContext), outcome: oneLine(m.Outcome, maxOutcome),
	}
	if m.Kind == events.KindQuestion && !m.State.Final() {
		l.head = w.question
	}
	l.add(w.arguments, arguments(m))
	l.add(w.options, options(m))
	l.add(w.why, readable(m.Justification))
	l.add(w.risk, readable(m.Risk))
	l.add(w.votes, votes(m, w))
	for _, offered := range m.Links[:min(len(m.Links), maxLinks)] {
		if good, ok := linkTo(offered.Text, offered.URL); ok {
			l.links = append(l.links, good)
		}
	}
	if issue, ok := linkTo("", m.IssueURL); ok {
		l.issue = issue.url
	}
	l.digest = oneLine(m.Digest, 12)
	l.foot = w.request + " " + l.digest
	if !m.State.Final() {
		if !m.Deadline.IsZero() {
			l.foot = w.until + " " + m.Deadline.UTC().Format("2006-01-02 15:04 UTC") + " · " + l.foot
		}
		l.buttons = buttons(m, w)
	}
	return l
}

func (l *layout) add(head, text string) {
	if text != "" {
		l.sections = append(l.sections, section{head, text})
	}
}

// fit cuts the sections to their room together, and each. What was cut is said, with where all of it is.
func (l *layout) fit(room, each int) {
	texts := make([]*string, len(l.sections))
	for i := range l.sections {
		texts[i] = &l.sections[i].text
	}
	l.cut = fit(texts, max(room, 0), each, l.words.cut)
}

// bare is the layout with empty sections and the longest foot, by which a channel knows what room is left.
func (l layout) bare() layout {
	empty := make([]section, len(l.sections))
	for i, s := range l.sections {
		empty[i].head = s.head
	}
	l.sections, l.cut = empty, true
	return l
}

// arguments are one to a line; what goes on in a further line is marked, so that it is not taken for another argument.
func arguments(m events.ApprovalMessage) string {
	if len(m.Fields) == 0 {
		if text := readable(string(m.Arguments)); text != "{}" && text != "null" {
			return text
		}
		return ""
	}
	var b strings.Builder
	for _, f := range m.Fields {
		if b.Len() > maxReadable {
			break // no channel shows that much
		}
		b.WriteString("\n" + oneLine(f.Name, 100) + ": " + strings.ReplaceAll(readable(f.Value), "\n", "\n  │ "))
	}
	return b.String()[1:]
}

func options(m events.ApprovalMessage) string {
	lines := make([]string, len(m.Options))
	for i, o := range m.Options {
		lines[i] = fmt.Sprintf("%d. %s", i+1, oneLine(o, maxOption))
	}
	return strings.Join(lines, "\n")
}

// votes are the newest, one to a line.
func votes(m events.ApprovalMessage, w words) string {
	var lines []string
	if older := len(m.Votes) - maxVotes; older > 0 {
		lines = append(lines, "… "+fmt.Sprintf(w.more, older))
	}
	for _, v := range m.Votes[max(0, len(m.Votes)-maxVotes):] {
		line := oneLine(v.Who, 80) + " " + map[events.Choice]string{events.Approve: w.approved, events.Deny: w.denied, events.Answer: w.answered}[v.Choice]
		if text := oneLine(v.Text, maxReason); text != "" {
			line += ": " + text
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func buttons(m events.ApprovalMessage, w words) []button {
	if m.Kind != events.KindQuestion {
		return []button{{approve, "✅ " + w.approve}, {deny, "⛔ " + w.deny}, {denyWords, "✏ " + w.denyWords}}
	}
	var out []button
	for i, o := range m.Options[:min(len(m.Options), 5)] {
		out = append(out, button{byte('1' + i), fmt.Sprintf("%d. %s", i+1, oneLine(o, 42))})
	}
	if m.FreeText {
		out = append(out, button{ownWords, "✏ " + w.ownWords})
	}
	return out
}

// at is a time of ours or theirs as events have it.
func at(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
