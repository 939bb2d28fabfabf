package main

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/stage"
)

// A repository that is new lacks labels, and later one is deleted: each hour its labels are compared once, with one
// call, and asked for if they are not as they should be. In between nothing is.
func TestLabelsThatARepositoryLacks(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	var err error
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	asked := func() []string {
		return f.lines(`SELECT jsonb_array_length(convert_from(data, 'UTF8')::jsonb -> 'labels')::text FROM events WHERE type = '` + events.GitHubLabelsRequested{}.EventType() + `'`)
	}
	now := time.Now().Truncate(catalogueEvery)
	must(t, f.h.compare(t.Context(), now))
	all := stage.Default().Catalogue()
	if got := asked(); len(got) != 0 {
		t.Errorf("asked for %v, though the hub has them", got)
	}
	client, err := f.h.clients.For(t.Context(), "acme/api")
	must(t, err)
	_, err = client.Issues.DeleteLabel(t.Context(), "acme", "api", "run:prd")
	must(t, err)
	must(t, f.h.compare(t.Context(), now.Add(2*compareEvery)))
	if got := asked(); len(got) != 0 {
		t.Errorf("asked for %v within the hour", got)
	}
	must(t, f.h.compare(t.Context(), now.Add(catalogueEvery)))
	f.want("after an hour", asked(), []string{strconv.Itoa(len(all))})
	f.want("sent", f.sent, []string{events.GitHubLabelsRequested{}.EventType()})
	must(t, f.h.compare(t.Context(), now.Add(catalogueEvery+2*compareEvery)))
	f.want("once an hour", asked(), []string{strconv.Itoa(len(all))})
}

// What was labelled since the last comparison is found whichever label it is, by one list of what was updated.
func TestALabelSinceTheLastComparison(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	lists := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/issues") {
			lists++
		}
		hub.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	var err error
	f.h.clients, err = github.Open(github.Config{URL: api.URL + "/api/v3/", Token: token})
	must(t, err)
	now := time.Now()
	must(t, f.h.compare(t.Context(), now))
	n, err := hub.CreateIssue("acme/api", "An idea", "", "ann")
	must(t, err)
	for _, label := range []string{"bug", "Run:Intake", "run:nothing"} {
		must(t, hub.AddLabel("acme/api", n, label, "ann"))
	}
	lists = 0
	must(t, f.h.compare(t.Context(), now.Add(2*compareEvery)))
	f.want("observed", f.lines(`SELECT convert_from(data, 'UTF8')::jsonb ->> 'label' FROM events WHERE type LIKE '%label.observed'`), []string{"run:intake"})
	if lists != 1 {
		t.Errorf("%d lists of issues were read, want 1", lists)
	}
}
