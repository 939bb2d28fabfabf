package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// mostApprovals is how many requests are listed.
const mostApprovals = 200

// approvals are what waits for people in the projects of the person.
func (h *handler) approvals(ctx context.Context, who store.Visitor) (api.ApprovalList, error) {
	list := api.ApprovalList{Items: []api.Approval{}}
	tickets, err := h.db.OpenRequests(ctx, who.Standing.Projects(access.ReadApprovals), mostApprovals)
	if err != nil {
		return list, err
	}
	for _, t := range tickets {
		list.Items = append(list.Items, approvalOf(t))
	}
	return list, nil
}

// asked reads a request for a person who asks to do something with it. Whether it is another project's or nobody's
// looks the same to them.
func (h *handler) asked(ctx context.Context, who store.Visitor, id string, o access.Operation) (approval.Ticket, error) {
	t, err := h.db.Ticket(ctx, id)
	switch {
	case err != nil:
		return t, err
	case t.State == "" || !who.Standing.May(access.ReadApprovals, t.Request.Project):
		return t, store.ErrNotFound
	case !who.Standing.May(o, t.Request.Project):
		return t, problem{slug: "forbidden", detail: string(o.Least())}
	}
	return t, nil
}

func (h *handler) approval(ctx context.Context, who store.Visitor, id string) (api.Approval, error) {
	t, err := h.asked(ctx, who, id, access.ReadApprovals)
	if err != nil {
		return api.Approval{}, err
	}
	return approvalOf(t), nil
}

// approvalOf is a request as all channels show it.
func approvalOf(t approval.Ticket) api.Approval {
	m, r := t.Message(), t.Request
	a := api.Approval{
		Id: r.ID, Digest: m.Digest, Kind: api.ApprovalKind(m.Kind), State: api.ApprovalState(m.State), Action: m.Action, Title: m.Title, Fields: []api.Field{},
		Options: append([]string{}, m.Options...), FreeText: m.FreeText, Justification: m.Justification, Risk: m.Risk, Run: r.RunID, Project: r.Project,
		Repository: r.Repository, Issue: r.Issue, Stage: r.Stage, RequestedBy: r.RequestedBy.Login, AskedAt: r.At, Deadline: m.Deadline, Quorum: m.Quorum,
		Votes: []api.VoteLine{}, Outcome: m.Outcome,
	}
	for _, f := range m.Fields {
		a.Fields = append(a.Fields, api.Field{Name: f.Name, Value: f.Value})
	}
	for _, v := range m.Votes {
		a.Votes = append(a.Votes, api.VoteLine{Who: v.Who, Choice: string(v.Choice), Text: v.Text, At: v.At})
	}
	return a
}

// vote stores a vote like that of any chat, unless it is known not to count. approval-gate decides by it. The same key
// of the same person is the same vote.
func (h *handler) vote(ctx context.Context, who store.Visitor, id, key string, vote api.Vote, dry bool) (api.Voted, error) {
	if key == "" || len(key) > 64 {
		return api.Voted{}, problem{slug: "bad-request", detail: "Idempotency-Key has 1 to 64 characters", at: "Idempotency-Key"}
	}
	t, err := h.asked(ctx, who, id, access.Vote)
	if err != nil {
		return api.Voted{}, err
	}
	v := events.ApprovalVoted{
		ID: fmt.Sprintf("%d:%s", who.Account.ID, key), RequestID: t.Request.ID, Digest: vote.Digest, Choice: events.Choice(vote.Choice), Option: vote.Option,
		Text: strings.TrimSpace(vote.Text), By: events.Voter{Channel: approval.Console, Account: fmt.Sprint(who.Account.ID), Name: who.Account.Login}, At: h.db.Now(),
	}
	foresee := func(ctx context.Context, tx *store.Tx) error {
		in, err := tx.Voted(ctx, t, v)
		if err != nil {
			return err
		}
		_, said, err := approval.Foresee(t, in, tx.Now())
		if err == nil && said != "" {
			err = problem{slug: "vote-refused", detail: said}
		}
		return err
	}
	if dry {
		return api.Voted{}, h.db.Look(ctx, foresee)
	}
	stored, err := h.db.Emit(ctx, store.Cause{Source: events.Source(function), ID: v.ID}, t.Request.Correlation(),
		func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: []events.Draft{events.Now(v)}}, foresee(ctx, tx)
		})
	if err != nil {
		return api.Voted{}, err
	}
	h.later(ctx, func(ctx context.Context) {
		if err := h.send(ctx, stored...); err != nil {
			slog.WarnContext(ctx, "a vote was stored but not sent; timekeeper will send it", "request", id, "error", err)
		}
	})
	if another(v, stored) {
		return api.Voted{}, problem{slug: "idempotency-mismatch", at: "Idempotency-Key"}
	}
	return api.Voted{Stored: true}, nil
}

// another reports whether something else was stored before under the same key.
func another(v events.ApprovalVoted, stored []event.Event) bool {
	var first events.ApprovalVoted
	if len(stored) != 1 || stored[0].DataAs(&first) != nil {
		return false
	}
	return first.RequestID != v.RequestID || first.Choice != v.Choice || first.Option != v.Option || first.Text != v.Text
}
