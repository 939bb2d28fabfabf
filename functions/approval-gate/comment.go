package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
)

// commented hears a comment on GitHub. A vote is a new comment of a person that begins with a command. Later edits
// change nothing, because nobody can see when a comment was read.
func (h *handler) commented(ctx context.Context, e event.Event) ([]event.Event, error) {
	c, err := webhook.CommentFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: %w", e.ID(), err))
	}
	said, ok := readCommand(c.Body)
	if !ok || c.Action != "created" || c.ViaApp || c.Author.Bot() || c.Author.ID == 0 || c.Author.ID != c.Sender.ID {
		return h.db.Receipt(ctx, e)
	}
	home, err := h.db.Home(ctx, about(c))
	if err != nil {
		return nil, err
	}
	open, err := h.db.OpenRequests(ctx, home.Repository, home.Issue)
	if err != nil {
		return nil, err
	}
	meant := slices.DeleteFunc(open, func(t approval.Ticket) bool { return !strings.HasPrefix(t.Request.Digest, said.digest) })
	if len(meant) == 0 {
		return h.db.Receipt(ctx, e)
	}
	return h.comment(ctx, e, c, said, meant)
}

// comment takes the vote of a comment, which may fit several requests. A person without a role in the project gets no
// answer: a repository is open to strangers, and their comments must not make us write.
func (h *handler) comment(ctx context.Context, e event.Event, c webhook.CommentEvent, said command, meant []approval.Ticket) ([]event.Event, error) {
	t := meant[0]
	v := said.vote(t.Request)
	v.ID, v.At = fmt.Sprintf("github:%d", c.CommentID), c.UpdatedAt
	v.By = events.Voter{Channel: approval.GitHub, Account: strconv.FormatInt(c.Author.ID, 10), Name: c.Author.Login}
	return h.step(ctx, e, "approval/"+t.Request.ID, func(ctx context.Context, s *step) error {
		learnt, err := s.tx.SeeAccount(ctx, store.Account{ID: c.Author.ID, Login: c.Author.Login})
		if err != nil {
			return err
		}
		s.out.Audit = append(s.out.Audit, learnt...)
		t, err := s.tx.Ticket(ctx, t.Request.ID)
		if err != nil {
			return err
		}
		in, err := s.tx.Voted(ctx, t, v)
		if err != nil {
			return err
		}
		if len(meant) > 1 && in.Who.Role != "" {
			s.ask(v, meant)
			return nil
		}
		if err := s.decide(ctx, t, in); err != nil {
			return err
		}
		if in.Who.Role == "" {
			s.out.Emit = slices.DeleteFunc(s.out.Emit, func(d events.Draft) bool { _, refused := d.Payload.(events.ApprovalRefused); return refused })
		}
		return nil
	})
}

// severalOpen is why a command that fits several requests is no vote.
const severalOpen = "several_open"

// ask tells the person so.
func (s *step) ask(v events.ApprovalVoted, meant []approval.Ticket) {
	text := words.In(meant[0].Terms.Lang).SeveralOpen
	for _, t := range meant {
		text += fmt.Sprintf("\n/%s %s  %s", v.Choice, approval.ShortDigest(t.Request), t.Request.Title)
	}
	s.out.Emit = append(s.out.Emit, events.Now(events.ApprovalRefused{
		RequestID: v.RequestID, VoteID: v.ID, By: v.By, Reason: severalOpen, Text: text,
	}))
	s.out.Audit = append(s.out.Audit, events.Record{
		Actor: "github:" + v.By.Name, Action: "vote.refused", Run: meant[0].Request.RunID, Reason: severalOpen, Detail: string(v.Choice),
	})
}

// about names the work item: a comment on a pull request is about the issue that it was opened for.
func about(c webhook.CommentEvent) stage.Subject {
	s := stage.Subject{Repository: c.Repository.Name, RepositoryID: c.Repository.ID, CloneURL: c.Repository.CloneURL, At: c.UpdatedAt}
	if c.OnPullRequest {
		s.Pull = int(c.Number)
	} else {
		s.Issue = int(c.Number)
	}
	return s
}

// A command is what a comment says.
type command struct {
	choice events.Choice
	digest string // the beginning of the request's; "" = the only one that is open
	words  string
}

var commandForm = regexp.MustCompile(`(?is)^/(approve|deny|answer)(?:[ \t]+([0-9a-f]{12}))?(?:\s+(.*))?$`)

// readCommand reads "/approve", "/deny reason" and "/answer 2", each with the request's short digest after the command
// if several are open. A quoted command does not count: its line begins with ">".
func readCommand(body string) (command, bool) {
	m := commandForm.FindStringSubmatch(strings.TrimSpace(body))
	if m == nil {
		return command{}, false
	}
	return command{events.Choice(strings.ToLower(m[1])), strings.ToLower(m[2]), strings.TrimSpace(m[3])}, true
}

var optionForm = regexp.MustCompile(`^([1-5])\b\W*$`)

// vote is the command as a vote on the request: a number alone is an option, if there are options.
func (c command) vote(r approval.Request) events.ApprovalVoted {
	v := events.ApprovalVoted{RequestID: r.ID, Digest: c.digest, Choice: c.choice, Text: c.words}
	if m := optionForm.FindStringSubmatch(c.words); m != nil && c.choice == events.Answer && len(r.Options) > 0 {
		v.Option, _ = strconv.Atoi(m[1])
		v.Text = ""
	}
	return v
}
