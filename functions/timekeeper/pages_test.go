package main

import (
	"fmt"
	"testing"
	"time"

	"codexk8s.dev/shared/github"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// TestTheSecondPagesAreRead: of the issues with a label, of an issue's events, of the webhooks.
func TestTheSecondPagesAreRead(t *testing.T) {
	f := setup(t)
	hub, token, address := f.hub()
	first, err := hub.CreateIssue("acme/api", "The oldest is last in GitHub's list", "", "ann")
	must(t, err)
	for range 60 { // two events each
		must(t, hub.AddLabel("acme/api", first, "flaky", "ann"))
		must(t, hub.RemoveLabel("acme/api", first, "flaky", "ann"))
	}
	must(t, hub.AddLabel("acme/api", first, "run:dev", "ann"))
	for range 100 {
		n, err := hub.CreateIssue("acme/api", "More", "", "ann")
		must(t, err)
		must(t, hub.AddLabel("acme/api", n, "run:dev", "ann"))
	}
	for n := range 100 {
		_, err := hub.AddHook("acme/api", fakegithub.HookOptions{URL: fmt.Sprint("http://127.0.0.1:9/ci/", n), Secret: "x", Events: []string{"push"}})
		must(t, err)
	}
	ours, err := hub.AddHook("acme/api", fakegithub.HookOptions{URL: address, Secret: "x"})
	must(t, err)
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	must(t, f.h.compare(t.Context(), time.Now().Add(2*compareEvery)))
	f.want("labels that were told of", f.lines(`SELECT count(DISTINCT work_item)::text FROM audit WHERE action = 'label.observed'`), []string{"101"})
	f.want("that of the first issue", f.lines(fmt.Sprintf(`SELECT detail FROM audit WHERE action = 'label.observed' AND work_item = 'acme/api#%d'`, first)), []string{"run:dev"})
	f.want("our webhook", f.lines(`SELECT hook_id::text FROM repositories`), []string{fmt.Sprint(ours)})
}
