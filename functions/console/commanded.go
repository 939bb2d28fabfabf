package main

import (
	"context"
	"net/http"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
)

// commanded answers a command: 200 when it is decided or was only tried, 202 while it is not.
type commanded struct{ api.Command }

func (c commanded) answer(w http.ResponseWriter) error {
	if c.State == "pending" {
		return api.CancelRun202JSONResponse{AcceptedJSONResponse: api.AcceptedJSONResponse{
			Body: c.Command, Headers: api.AcceptedResponseHeaders{Location: "/v1/commands/" + c.Id},
		}}.VisitCancelRunResponse(w)
	}
	return api.CancelRun200JSONResponse{CommandedJSONResponse: api.CommandedJSONResponse(c.Command)}.VisitCancelRunResponse(w)
}

// VisitStartRunResponse implements api.StartRunResponseObject; the others are like it.
func (c commanded) VisitStartRunResponse(w http.ResponseWriter) error     { return c.answer(w) }
func (c commanded) VisitCancelRunResponse(w http.ResponseWriter) error    { return c.answer(w) }
func (c commanded) VisitRerunRunResponse(w http.ResponseWriter) error     { return c.answer(w) }
func (c commanded) VisitReviseRunResponse(w http.ResponseWriter) error    { return c.answer(w) }
func (c commanded) VisitReleaseIssueResponse(w http.ResponseWriter) error { return c.answer(w) }
func (c commanded) VisitDropIssueResponse(w http.ResponseWriter) error    { return c.answer(w) }
func (c commanded) VisitGetCommandResponse(w http.ResponseWriter) error {
	return api.GetCommand200JSONResponse{CommandedJSONResponse: api.CommandedJSONResponse(c.Command)}.VisitGetCommandResponse(w)
}

func (c contract) StartRun(ctx context.Context, r api.StartRunRequestObject) (api.StartRunResponseObject, error) {
	p := r.Params
	order := events.CommandRequested{Repository: r.Body.Repository, Issue: r.Body.Issue, Command: events.CommandStart, Label: r.Body.Label, Text: r.Body.Text}
	is, err := c.h.command(ctx, visitor(ctx), access.StartRuns, order, mannerOf(p.IdempotencyKey, p.DryRun, p.IfMatch, p.Prefer))
	return commanded{is}, err
}

func (c contract) CancelRun(ctx context.Context, r api.CancelRunRequestObject) (api.CancelRunResponseObject, error) {
	p := r.Params
	is, err := c.h.cancel(ctx, visitor(ctx), r.Run, mannerOf(p.IdempotencyKey, p.DryRun, p.IfMatch, p.Prefer))
	return commanded{is}, err
}

func (c contract) RerunRun(ctx context.Context, r api.RerunRunRequestObject) (api.RerunRunResponseObject, error) {
	p := r.Params
	is, err := c.h.startAgain(ctx, visitor(ctx), r.Run, events.KindWork, "", mannerOf(p.IdempotencyKey, p.DryRun, p.IfMatch, p.Prefer))
	return commanded{is}, err
}

func (c contract) ReviseRun(ctx context.Context, r api.ReviseRunRequestObject) (api.ReviseRunResponseObject, error) {
	p := r.Params
	is, err := c.h.startAgain(ctx, visitor(ctx), r.Run, events.KindRevise, r.Body.Text, mannerOf(p.IdempotencyKey, p.DryRun, p.IfMatch, p.Prefer))
	return commanded{is}, err
}

func (c contract) ReleaseIssue(ctx context.Context, r api.ReleaseIssueRequestObject) (api.ReleaseIssueResponseObject, error) {
	p := r.Params
	order := events.CommandRequested{Repository: r.Owner + "/" + r.Repository, Issue: r.Issue, Command: events.CommandRelease}
	is, err := c.h.command(ctx, visitor(ctx), access.StartRuns, order, mannerOf(p.IdempotencyKey, p.DryRun, p.IfMatch, p.Prefer))
	return commanded{is}, err
}

func (c contract) DropIssue(ctx context.Context, r api.DropIssueRequestObject) (api.DropIssueResponseObject, error) {
	p := r.Params
	order := events.CommandRequested{Repository: r.Owner + "/" + r.Repository, Issue: r.Issue, Command: events.CommandDrop}
	is, err := c.h.command(ctx, visitor(ctx), access.CancelRuns, order, mannerOf(p.IdempotencyKey, p.DryRun, p.IfMatch, p.Prefer))
	return commanded{is}, err
}

func (c contract) GetCommand(ctx context.Context, r api.GetCommandRequestObject) (api.GetCommandResponseObject, error) {
	is, err := c.h.given(ctx, visitor(ctx), r.Command)
	return commanded{is}, err
}
