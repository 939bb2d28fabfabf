package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
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
	return page.Frame{Name: "runs", Body: v}, err
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
	v := page.Run{Detail: detail, Grep: q.Get("grep"), Active: !stage.State(detail.Run.State).Final(), Job: detail.Attempt + 1,
		IssueFilter: fmt.Sprintf("issue:%s#%d", detail.Run.Repository, detail.Run.Issue), Steps: page.Timeline(steps)}
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
	return page.Frame{Name: "run", Body: v}, nil
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
