package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/store"
)

// contract is the API: each operation of openapi.yaml is one of ours.
type contract struct{ h *handler }

type visitorKey struct{}

// strict is the API's server. Who asks is known before an operation begins.
func (h *handler) strict() api.ServerInterface {
	known := func(next api.StrictHandlerFunc, method string) api.StrictHandlerFunc {
		needs := access.Operation(api.Right(method)).Scope()
		return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
			if err := onlyKnown(r, api.Parameters(request)); err != nil {
				return nil, err
			}
			who, err := h.caller(r)
			if errors.Is(err, store.ErrNotFound) {
				return nil, problem{slug: "not-signed-in"}
			}
			if err != nil {
				return nil, err
			}
			if who.Scopes != nil && (needs == "" || !slices.Contains(who.Scopes, needs)) {
				return nil, problem{slug: "no-scope", detail: string(needs)}
			}
			return next(context.WithValue(ctx, visitorKey{}, who), w, r, request)
		}
	}
	return api.NewStrictHandlerWithOptions(contract{h}, []api.StrictMiddlewareFunc{known}, api.StrictHTTPServerOptions{
		RequestErrorHandlerFunc: h.badParameter, ResponseErrorHandlerFunc: h.refuse,
	})
}

// onlyKnown refuses parameters that the operation does not have: a slip would silently choose all.
func onlyKnown(r *http.Request, known []string) error {
	for name, values := range r.URL.Query() {
		switch {
		case !slices.Contains(known, name):
			return problem{slug: "bad-request", detail: fmt.Sprintf("there is no parameter %q: there are %s", name, strings.Join(known, ", ")), at: name}
		case len(values) > 1:
			return problem{slug: "bad-request", detail: fmt.Sprintf("the parameter %q is there %d times", name, len(values)), at: name}
		}
	}
	return nil
}

func visitor(ctx context.Context) store.Visitor { return ctx.Value(visitorKey{}).(store.Visitor) }

func (c contract) GetMe(ctx context.Context, _ api.GetMeRequestObject) (api.GetMeResponseObject, error) {
	return api.GetMe200JSONResponse(me(visitor(ctx))), nil
}

func (c contract) ListRuns(ctx context.Context, r api.ListRunsRequestObject) (api.ListRunsResponseObject, error) {
	list, err := c.h.runs(ctx, visitor(ctx), r.Params)
	return api.ListRuns200JSONResponse(list), err
}

func (c contract) GetRun(ctx context.Context, r api.GetRunRequestObject) (api.GetRunResponseObject, error) {
	detail, err := c.h.runDetail(ctx, visitor(ctx), r.Run)
	return api.GetRun200JSONResponse(detail), err
}

func (c contract) GetTimeline(ctx context.Context, r api.GetTimelineRequestObject) (api.GetTimelineResponseObject, error) {
	timeline, err := c.h.timeline(ctx, visitor(ctx), r.Run)
	return api.GetTimeline200JSONResponse(timeline), err
}

func (c contract) GetLog(ctx context.Context, r api.GetLogRequestObject) (api.GetLogResponseObject, error) {
	log, err := c.h.log(ctx, visitor(ctx), r.Run, r.Params)
	return api.GetLog200JSONResponse(log), err
}

func (c contract) ListApprovals(ctx context.Context, _ api.ListApprovalsRequestObject) (api.ListApprovalsResponseObject, error) {
	list, err := c.h.approvals(ctx, visitor(ctx))
	return api.ListApprovals200JSONResponse(list), err
}

func (c contract) GetApproval(ctx context.Context, r api.GetApprovalRequestObject) (api.GetApprovalResponseObject, error) {
	a, err := c.h.approval(ctx, visitor(ctx), r.Approval)
	return api.GetApproval200JSONResponse(a), err
}

func (c contract) Vote(ctx context.Context, r api.VoteRequestObject) (api.VoteResponseObject, error) {
	voted, err := c.h.vote(ctx, visitor(ctx), r.Approval, r.Params.IdempotencyKey, *r.Body, r.Params.DryRun)
	return api.Vote200JSONResponse(voted), err
}
