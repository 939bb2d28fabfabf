package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// A command is what a comment says.
type command struct {
	choice events.Choice
	words  string
}

var commandForm = regexp.MustCompile(`(?is)^/(approve|deny|answer)[.,:;!]*(?:[\s\p{Z}](.*))?$`)

// readCommand reads "/approve", "/deny reason" and "/answer 2", each with a request's digest after the command if
// several are open. A quoted command does not count: its line begins with ">".
func readCommand(body string) (command, bool) {
	m := commandForm.FindStringSubmatch(strings.TrimSpace(body))
	if m == nil {
		return command{}, false
	}
	return command{events.Choice(strings.ToLower(m[1])), strings.TrimSpace(m[2])}, true
}

// A meaning is what a command comes to among the requests of its issue.
type meaning struct {
	request *approval.Request // nil = it has nothing to do with them
	vote    events.ApprovalVoted
	which   []approval.Ticket // not empty: it is not clear which of these it means, so it is no vote
}

// late is for how long a command that names no request is understood to come too late for the last one. Other programs
// have an /approve as well.
const late = time.Hour

// of finds out which request the command means: the one whose digest it names, wherever it does, else the only one that
// is open. all are those of the issue, the newest first. A digest that none of them has is a mistake.
func (c command) of(all []approval.Ticket, now time.Time) meaning {
	open := keep(all, func(t approval.Ticket) bool { return !t.State.Final() })
	named, rest, unknown := c.named(all)
	digest := len(named) > 0
	switch {
	case digest || unknown:
	case len(open) > 0:
		named = open
	case len(all) > 0 && all[0].Outcome != nil && now.Sub(all[0].Outcome.At) < late:
		named = all[:1]
	}
	var m meaning
	switch {
	case len(open) > 0 && (unknown || len(named) > 1):
		m.which, m.request = open, &open[0].Request
	case len(named) > 0:
		m.request = &named[0].Request
	default:
		return meaning{}
	}
	m.vote = events.ApprovalVoted{RequestID: m.request.ID, Choice: c.choice, Text: rest}
	if digest {
		m.vote.Digest = approval.ShortDigest(*m.request)
	}
	if o := optionForm.FindStringSubmatch(rest); o != nil && c.choice == events.Answer && len(m.request.Options) > 0 {
		m.vote.Option, _ = strconv.Atoi(o[1])
		m.vote.Text = ""
	}
	return m
}

// optionForm is a number alone: an option, if there are options.
var optionForm = regexp.MustCompile(`^([1-5])\b\W*$`)

// named are the requests whose digests stand in the words, and the words without the one at their beginning. unknown
// says that a digest stands there which is none of theirs. An answer is free text: only its first word counts.
func (c command) named(all []approval.Ticket) (named []approval.Ticket, rest string, unknown bool) {
	rest = c.words
	for i, word := range strings.Fields(c.words) {
		if i > 0 && c.choice == events.Answer {
			break
		}
		d := digestIn(word)
		if d == "" {
			continue
		}
		of := keep(all, func(t approval.Ticket) bool { return strings.HasPrefix(t.Request.Digest, d) })
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

func keep(all []approval.Ticket, is func(approval.Ticket) bool) []approval.Ticket {
	return slices.DeleteFunc(slices.Clone(all), func(t approval.Ticket) bool { return !is(t) })
}
