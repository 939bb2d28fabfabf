package approval

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
)

// A Command is what a comment says about a request.
type Command struct {
	Choice events.Choice
	words  string
}

var commandForm = regexp.MustCompile(`(?is)^/(approve|deny|answer)[.,:;!]*(?:[\s\p{Z}](.*))?$`)

// ReadCommand reads "/approve", "/deny reason" and "/answer 2", each with a request's digest after the command if
// several are open. A quoted command does not count: its line begins with ">".
func ReadCommand(body string) (Command, bool) {
	m := commandForm.FindStringSubmatch(strings.TrimSpace(body))
	if m == nil {
		return Command{}, false
	}
	return Command{events.Choice(strings.ToLower(m[1])), strings.TrimSpace(m[2])}, true
}

// A Meaning is what a command comes to among the requests of its issue.
type Meaning struct {
	Request *Request // nil = it has nothing to do with them
	Vote    events.ApprovalVoted
	Which   []Ticket // not empty: it is not clear which of these it means, so it is no vote
}

// recent is for how long a command that names no request is understood to come too late for the last one. Other
// programs have an /approve as well.
const recent = time.Hour

// Of finds out which request the command means: the one whose digest it names, wherever it does, else the only one that
// is open. all are those of the issue, the newest first. A digest that none of them has is a mistake.
func (c Command) Of(all []Ticket, now time.Time) Meaning {
	open := keep(all, func(t Ticket) bool { return !t.State.Final() })
	named, rest, unknown := c.named(all)
	digest := len(named) > 0
	switch {
	case digest || unknown:
	case len(open) > 0:
		named = open
	case len(all) > 0 && all[0].Outcome != nil && now.Sub(all[0].Outcome.At) < recent:
		named = all[:1]
	}
	var m Meaning
	switch {
	case len(open) > 0 && (unknown || len(named) > 1):
		m.Which, m.Request = open, &open[0].Request
	case len(named) > 0:
		m.Request = &named[0].Request
	default:
		return Meaning{}
	}
	m.Vote = events.ApprovalVoted{RequestID: m.Request.ID, Choice: c.Choice, Text: rest}
	if digest {
		m.Vote.Digest = ShortDigest(*m.Request)
	}
	if o := optionForm.FindStringSubmatch(rest); o != nil && c.Choice == events.Answer && len(m.Request.Options) > 0 {
		m.Vote.Option, _ = strconv.Atoi(o[1])
		m.Vote.Text = ""
	}
	return m
}

// optionForm is a number alone: an option, if there are options.
var optionForm = regexp.MustCompile(`^([1-5])\b\W*$`)

// named are the requests whose digests stand in the words, and the words without the one at their beginning. unknown
// says that a digest stands there which is none of theirs. An answer is free text: only its first word counts.
func (c Command) named(all []Ticket) (named []Ticket, rest string, unknown bool) {
	rest = c.words
	for i, word := range strings.Fields(c.words) {
		if i > 0 && c.Choice == events.Answer {
			break
		}
		d := digestIn(word)
		if d == "" {
			continue
		}
		of := keep(all, func(t Ticket) bool { return strings.HasPrefix(t.Request.Digest, d) })
		if named = append(named, of...); i > 0 {
			continue
		}
		if unknown = len(of) == 0 && strings.ContainsAny(d, "0123456789") && strings.ContainsAny(d, "abcdef"); unknown || len(of) > 0 {
			rest = strings.TrimSpace(strings.TrimPrefix(c.words, word))
		}
	}
	return named, rest, unknown && len(named) == 0
}

// digestIn is the beginning of a digest, or all of it, however a person writes it down: as code, shortened to seven as
// Git shortens, with a comma behind. "" if the word is something else.
func digestIn(word string) string {
	d := strings.ToLower(strings.Trim(word, "`'\"#()[]<>.,:;!"))
	if len(d) < 7 || len(d) > 64 || strings.Trim(d, "0123456789abcdef") != "" {
		return ""
	}
	return d
}

func keep(all []Ticket, is func(Ticket) bool) []Ticket {
	return slices.DeleteFunc(slices.Clone(all), func(t Ticket) bool { return !is(t) })
}
