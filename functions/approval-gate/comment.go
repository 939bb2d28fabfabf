package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
)

// commented hears a comment on GitHub. A vote is a comment of a person that begins with a command. Its author may edit
// it, and then it says what it says last; what somebody else makes of it does not count.
func (h *handler) commented(ctx context.Context, e event.Event) ([]event.Event, error) {
	c, err := webhook.CommentFrom(e.Data())
	if err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: %w", e.ID(), err))
	}
	said, command := approval.ReadCommand(c.Body)
	command = command && c.Action != "deleted"
	news := command && c.Action == "created" || c.Action == "edited" || c.Action == "deleted"
	if !news || c.ViaApp || c.Author.Bot() || c.Author.ID == 0 || c.Author.ID != c.Sender.ID {
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
	var m approval.Meaning
	if command {
		m = said.Of(all, h.db.Now())
	}
	var before []string // what it may have been about before
	for _, t := range all {
		if c.Action != "created" && !t.State.Final() && (m.Request == nil || len(m.Which) > 0 || t.Request.ID != m.Request.ID) {
			before = append(before, t.Request.ID)
		}
	}
	if m.Request == nil && len(before) == 0 {
		return h.db.Receipt(ctx, e)
	}
	return h.comment(ctx, e, c, m, before)
}

// comment takes the vote of a comment, and back what it said before.
func (h *handler) comment(ctx context.Context, e event.Event, c webhook.CommentEvent, m approval.Meaning, before []string) ([]event.Event, error) {
	v := m.Vote
	v.At, v.By = c.UpdatedAt, events.Voter{Channel: approval.GitHub, Account: strconv.FormatInt(c.Author.ID, 10), Name: c.Author.Login}
	switch c.Action {
	case "created":
		v.ID = approval.CommentVote(c.CommentID, time.Time{})
	case "edited":
		v.ID = approval.CommentVote(c.CommentID, c.UpdatedAt)
	case "deleted":
		v.ID = approval.DeletedComment(c.CommentID)
	}
	first := v.RequestID
	if first == "" {
		first = before[0]
	}
	return h.step(ctx, e, "approval/"+first, func(ctx context.Context, s *step) error {
		learnt, err := s.tx.SeeAccount(ctx, store.Account{ID: c.Author.ID, Login: c.Author.Login})
		if err != nil {
			return err
		}
		s.out.Audit = append(s.out.Audit, learnt...)
		for _, id := range before {
			t, in, err := s.voted(ctx, id, v)
			if err == nil {
				err = s.decide(ctx, t, approval.Unsaid{Vote: in.Vote, Who: in.Who, Members: in.Members})
			}
			if err != nil {
				return err
			}
		}
		if m.Request == nil {
			return nil
		}
		return s.vote(ctx, v, m.Which)
	})
}

// vote takes the vote of a comment. A person without a role in the project gets no answer: a repository is open to
// strangers, and their comments must not make us write.
func (s *step) vote(ctx context.Context, v events.ApprovalVoted, which []approval.Ticket) error {
	t, in, err := s.voted(ctx, v.RequestID, v)
	if err != nil {
		return err
	}
	if len(which) > 0 && in.Who.Role != "" {
		s.ask(v, which)
		return nil
	}
	if err := s.decide(ctx, t, in); err != nil {
		return err
	}
	if in.Who.Role == "" {
		s.out.Emit = slices.DeleteFunc(s.out.Emit, func(d events.Draft) bool { _, refused := d.Payload.(events.ApprovalRefused); return refused })
	}
	return nil
}

// voted is a vote with its request, and what a decision must know.
func (s *step) voted(ctx context.Context, request string, v events.ApprovalVoted) (t approval.Ticket, in approval.Voted, err error) {
	if t, err = s.tx.Ticket(ctx, request); err != nil {
		return t, in, err
	}
	v.RequestID = request
	in, err = s.tx.Voted(ctx, t, v)
	return t, in, err
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
