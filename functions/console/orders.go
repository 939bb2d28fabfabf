package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// An order is what a page of a command orders, by its request.
type order func(h *handler, r *http.Request, who store.Visitor, m manner) (api.Command, error)

// orders are the commands that have a page, by its path: it shows what would come of the command, with the button that
// gives it.
var orders = map[string]order{
	"/runs/{run}/cancel": func(h *handler, r *http.Request, who store.Visitor, m manner) (api.Command, error) {
		return h.cancel(r.Context(), who, r.PathValue("run"), m)
	},
	"/runs/{run}/rerun": func(h *handler, r *http.Request, who store.Visitor, m manner) (api.Command, error) {
		return h.startAgain(r.Context(), who, r.PathValue("run"), events.KindWork, "", m)
	},
	"/runs/{run}/revise": func(h *handler, r *http.Request, who store.Visitor, m manner) (api.Command, error) {
		return h.startAgain(r.Context(), who, r.PathValue("run"), events.KindRevise, r.FormValue("text"), m)
	},
	"/issues/{owner}/{repository}/{issue}/start": func(h *handler, r *http.Request, who store.Visitor, m manner) (api.Command, error) {
		return h.onIssue(r, who, access.StartRuns, events.CommandRequested{Command: events.CommandStart, Label: r.FormValue("label"), Text: r.FormValue("text")}, m)
	},
	"/issues/{owner}/{repository}/{issue}/release": func(h *handler, r *http.Request, who store.Visitor, m manner) (api.Command, error) {
		return h.onIssue(r, who, access.StartRuns, events.CommandRequested{Command: events.CommandRelease}, m)
	},
	"/issues/{owner}/{repository}/{issue}/drop": func(h *handler, r *http.Request, who store.Visitor, m manner) (api.Command, error) {
		return h.onIssue(r, who, access.CancelRuns, events.CommandRequested{Command: events.CommandDrop}, m)
	},
}

// onIssue gives a command about the issue of the address.
func (h *handler) onIssue(r *http.Request, who store.Visitor, o access.Operation, c events.CommandRequested, m manner) (api.Command, error) {
	issue, err := strconv.ParseInt(r.PathValue("issue"), 10, 32)
	if err != nil || issue < 1 {
		return api.Command{}, store.ErrNotFound
	}
	c.Repository, c.Issue = r.PathValue("owner")+"/"+r.PathValue("repository"), int(issue)
	return h.command(r.Context(), who, o, c, m)
}

// orderPages are the pages of commands.
func (h *handler) orderPages() {
	for path, give := range orders {
		h.page("GET "+path, func(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
			return h.foreseen(r, who, give)
		})
		h.page("POST "+path, func(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
			return h.ordered(r, who, give)
		})
	}
	h.page("GET /commands/{command}", func(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
		is, err := h.given(r.Context(), who, r.PathValue("command"))
		return page.Frame{Name: "command", Body: page.Order{Command: is}}, err
	})
}

// foreseen shows what would come of a command.
func (h *handler) foreseen(r *http.Request, who store.Visitor, give order) (page.Frame, error) {
	is, err := give(h, r, who, manner{key: "foreseen", dry: true})
	return page.Frame{Name: "command", Body: page.Order{Command: is, Key: secret()[:24], Text: r.FormValue("text")}}, err
}

// ordered gives a command that a form asks for. If something else would come of it by now, that is shown.
func (h *handler) ordered(r *http.Request, who store.Visitor, give order) (page.Frame, error) {
	if err := r.ParseForm(); err != nil {
		return page.Frame{}, problem{slug: "bad-request", detail: err.Error()}
	}
	is, err := give(h, r, who, mannerOf(r.PostFormValue("key"), false, r.PostFormValue("etag"), ""))
	var p problem
	if errors.As(err, &p) && (p.slug == "stale" || p.slug == "command-refused" || p.slug == "idempotency-mismatch") {
		f, err := h.foreseen(r, who, give)
		if v, ok := f.Body.(page.Order); ok && err == nil {
			v.Refused = page.Problems[p.slug].Title[languageOf(r)]
			f.Body, f.Status = v, page.Problems[p.slug].Status
		}
		return f, err
	}
	to := "/commands/" + url.PathEscape(is.Id)
	if is.State == "done" && is.Run != "" {
		to = "/runs/" + url.PathEscape(is.Run)
	}
	return page.Frame{Elsewhere: to}, err
}

// given is what has become of a command of the person's.
func (h *handler) given(ctx context.Context, who store.Visitor, id string) (api.Command, error) {
	known, err := h.db.Command(ctx, id)
	if err == nil && known.By.ID != who.Account.ID {
		err = store.ErrNotFound
	}
	return outcome(known), err
}
