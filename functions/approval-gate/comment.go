package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
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
	said, ok := approval.ReadCommand(c.Body)
	if !ok || c.Action != "created" || c.ViaApp || c.Author.Bot() || c.Author.ID == 0 || c.Author.ID != c.Sender.ID {
		return h.db.Receipt(ctx, e)
	}
	home, err := h.db.Home(ctx, about(c))
	if err != nil {
		return nil, err
	}
	all, err := h.db.Requests(ctx, home.Repository, home.Issue)
	if err != nil {
		return nil, err
	}
	m := said.Of(all, h.db.Now())
	if m.Request == nil {
		return h.db.Receipt(ctx, e)
	}
	return h.comment(ctx, e, c, m)
}

// comment takes the vote of a comment. A person without a role in the project gets no answer: a repository is open to
// strangers, and their comments must not make us write.
func (h *handler) comment(ctx context.Context, e event.Event, c webhook.CommentEvent, m approval.Meaning) ([]event.Event, error) {
	v := m.Vote
	v.ID, v.At = fmt.Sprintf("github:%d", c.CommentID), c.UpdatedAt
	v.By = events.Voter{Channel: approval.GitHub, Account: strconv.FormatInt(c.Author.ID, 10), Name: c.Author.Login}
	return h.step(ctx, e, "approval/"+v.RequestID, func(ctx context.Context, s *step) error {
		learnt, err := s.tx.SeeAccount(ctx, store.Account{ID: c.Author.ID, Login: c.Author.Login})
		if err != nil {
			return err
		}
		s.out.Audit = append(s.out.Audit, learnt...)
		t, err := s.tx.Ticket(ctx, v.RequestID)
		if err != nil {
			return err
		}
		in, err := s.tx.Voted(ctx, t, v)
		if err != nil {
			return err
		}
		if len(m.Which) > 0 && in.Who.Role != "" {
			s.ask(v, m.Which)
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

// ask tells a person that their command may mean several requests.
func (s *step) ask(v events.ApprovalVoted, which []approval.Ticket) {
	text := words.In(which[0].Terms.Lang).WhichOne
	for _, t := range which {
		text += fmt.Sprintf("\n/%s %s  %s", v.Choice, approval.ShortDigest(t.Request), t.Request.Title)
	}
	s.out.Emit = append(s.out.Emit, events.Now(events.ApprovalRefused{
		RequestID: v.RequestID, VoteID: v.ID, By: v.By, Reason: reason.SeveralOpen, Text: text,
	}))
	s.out.Audit = append(s.out.Audit, events.Record{
		Actor: "github:" + v.By.Name, Action: "vote.refused", Run: which[0].Request.RunID, Reason: reason.SeveralOpen, Detail: string(v.Choice),
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
