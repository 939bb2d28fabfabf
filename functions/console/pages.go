package main

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// runsPage lists runs. A filter that is not understood is shown as it was written, with what is wrong.
func (h *handler) runsPage(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
	q := r.URL.Query()
	v := page.Runs{Filter: strings.TrimSpace(q.Get("q")), Paged: q.Get("cursor") != ""}
	var err error
	v.List, err = h.runs(r.Context(), who, api.ListRunsParams{Q: v.Filter, Cursor: q.Get("cursor")})
	var p problem
	if errors.As(err, &p) && p.slug == "bad-filter" {
		v.Problem, err = p.detail, nil
	}
	v.Tabs = tabs(languageOf(r), v.Filter)
	return page.Frame{Name: "runs", Live: aboutLists, Body: v}, err
}

// tabs are the filters that people want most; each keeps what else the filter says.
func tabs(language, now string) []page.Link {
	var rest []string
	state := ""
	for _, word := range strings.Fields(now) {
		if strings.HasPrefix(word, "state:") {
			state = word
			continue
		}
		rest = append(rest, word)
	}
	var all []page.Link
	for _, tab := range page.Tabs(language) {
		q := strings.TrimSpace(strings.Join(append([]string{tab.Address}, rest...), " "))
		all = append(all, page.Link{Name: tab.Name, Address: "/runs?" + page.Query("q", q), Current: tab.Address == state})
	}
	return all
}

// runPage shows a run with a window of its log: the end of it, unless the address says otherwise.
func (h *handler) runPage(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
	q, id := r.URL.Query(), r.PathValue("run")
	detail, err := h.runDetail(r.Context(), who, id)
	if err != nil {
		return page.Frame{}, err
	}
	steps, err := h.timeline(r.Context(), who, id)
	if err != nil {
		return page.Frame{}, err
	}
	v := page.Run{Detail: detail, Grep: q.Get("grep"), Job: detail.Attempt + 1, Steps: page.Timeline(steps),
		Orders: runOrders(languageOf(r), who, detail.Run)}
	f := page.Frame{Name: "run", Live: aboutRun + ":" + id}
	if page.Partial(r) { // the log that is there grows by the stream
		f.Body = v
		return f, nil
	}
	from, err := strconv.ParseInt(q.Get("from"), 10, 64)
	switch {
	case err != nil && v.Grep != "":
		from = 1
	case err != nil:
		from = -usualLines
	}
	if v.Log, err = h.log(r.Context(), who, id, api.GetLogParams{From: from, Grep: v.Grep}); err != nil {
		return page.Frame{}, err
	}
	v.Windows = windows(languageOf(r), id, v.Grep, v.Log)
	n := len(v.Log.Items)
	v.AtEnd = v.Grep == "" && (v.Log.Last == 0 || n > 0 && v.Log.Items[n-1].Seq == v.Log.Last)
	f.Body = v
	return f, nil
}

// runOrders are the commands that fit a run, if the person may give them.
func runOrders(language string, who store.Visitor, r api.Run) (all []page.Link) {
	words := page.In(language)
	to := "/runs/" + url.PathEscape(r.Id)
	switch {
	case !who.Standing.May(access.CancelRuns, r.Project):
	case !stage.State(r.State).Final():
		all = append(all, page.Link{Name: words.StopRun, Address: to + "/cancel"})
	case r.Kind == api.RunKindWork || r.Kind == api.RunKindRevise:
		all = append(all, page.Link{Name: words.RunAgain, Address: to + "/rerun"})
		if r.PullRequest != 0 {
			all = append(all, page.Link{Name: words.ReviseRun, Address: to + "/revise"})
		}
	}
	return all
}

// windows are the ways to the other parts of a log.
func windows(language, id, grep string, l api.Log) (all []page.Link) {
	words := page.In(language)
	to := func(name string, from int64) {
		q := url.Values{"from": {strconv.FormatInt(from, 10)}}
		if grep != "" {
			q.Set("grep", grep)
		}
		all = append(all, page.Link{Name: name, Address: "/runs/" + url.PathEscape(id) + "?" + q.Encode() + "#l"})
	}
	first, last := int64(1), l.SearchedTo
	if n := len(l.Items); n > 0 {
		first, last = l.Items[0].Seq, max(last, l.Items[n-1].Seq)
	}
	if first > 1 && grep == "" {
		to(words.First, 1)
		to(words.Previous, max(1, first-usualLines))
	}
	if last < l.Last && (len(l.Items) == usualLines || l.SearchedTo > 0) {
		to(words.Next, last+1)
	}
	if last < l.Last && grep == "" {
		to(words.Last, -usualLines)
	}
	return all
}

// homePage is what needs the person: requests to answer here and now, what is at work, and what has failed of late.
func (h *handler) homePage(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
	var v page.Home
	list, err := h.approvals(r.Context(), who)
	if err != nil {
		return page.Frame{}, err
	}
	for _, a := range list.Items {
		v.Needs = append(v.Needs, page.Ask{Approval: a, Key: secret()[:24]})
	}
	for _, part := range []struct {
		list  *api.RunList
		q     string
		limit int
	}{{&v.Running, "state:requested,queued,starting,running", 10}, {&v.Failed, "state:failed,timed_out", 5}, {&v.Done, "state:succeeded", 5}} {
		if *part.list, err = h.runs(r.Context(), who, api.ListRunsParams{Q: part.q, Limit: part.limit}); err != nil {
			return page.Frame{}, err
		}
	}
	return page.Frame{Name: "home", Live: aboutLists, Body: v}, nil
}

// approvalPage is one request, with the way to decide it as long as it is open.
func (h *handler) approvalPage(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
	a, err := h.approval(r.Context(), who, r.PathValue("approval"))
	v := page.Ask{Approval: a, Key: secret()[:24], Stored: r.URL.Query().Has("stored")}
	return page.Frame{Name: "approval", Live: aboutRun + ":" + a.Run, Body: v}, err
}

// votePage takes a vote from a form. One that does not count is told on the request's page, which keeps what was
// written and shows the request as it is now.
func (h *handler) votePage(_ http.ResponseWriter, r *http.Request, who store.Visitor) (page.Frame, error) {
	if err := r.ParseForm(); err != nil {
		return page.Frame{}, problem{slug: "bad-request", detail: err.Error()}
	}
	id, option := r.PathValue("approval"), 0
	choice, number, _ := strings.Cut(r.PostFormValue("choice"), ":")
	if number != "" {
		option, _ = strconv.Atoi(number) // what is no number is no option, and refused as such
	}
	vote := api.Vote{Choice: api.VoteChoice(choice), Option: option, Digest: r.PostFormValue("digest"), Text: r.PostFormValue("text")}
	_, err := h.vote(r.Context(), who, id, r.PostFormValue("key"), vote, false)
	var p problem
	if errors.As(err, &p) && (p.slug == "vote-refused" || p.slug == "idempotency-mismatch") {
		a, err := h.approval(r.Context(), who, id)
		v := page.Ask{Approval: a, Key: secret()[:24], Text: vote.Text, Refused: p.detail}
		if p.detail == "" {
			v.Refused = page.Problems[p.slug].Text[languageOf(r)]
		}
		return page.Frame{Name: "approval", Status: http.StatusUnprocessableEntity, Body: v}, err
	}
	return page.Frame{Elsewhere: "/approvals/" + url.PathEscape(id) + "?stored"}, err
}
