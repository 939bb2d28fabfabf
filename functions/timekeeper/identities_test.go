package main

import (
	"fmt"
	"testing"
	"time"

	"codexk8s.dev/shared/github"
)

func TestNumbersAreAskedForOnceAndNamesFollow(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	_, err := hub.CreateUser("bob")
	must(t, err)
	f.exec(`INSERT INTO members (project_id, login, role) VALUES ('p', 'bob', 'maintainer'), ('p', 'nobody', 'reader')`)
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	now := time.Now()
	must(t, f.h.compare(t.Context(), now))
	f.want("learnt", f.lines(`SELECT action FROM audit ORDER BY seq`), []string{"member.known", "repository.known"})
	f.want("members", f.lines(`SELECT login || ' ' || (github_id IS NOT NULL) FROM members ORDER BY login`), []string{"bob true", "nobody false"})

	f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/api', 1, 'acme/api')`)
	must(t, hub.MoveRepository("acme/api", "acme/Interface", "acme"))
	must(t, hub.CreateRepository("acme/api", map[string]string{"README.md": "another"}))
	n, err := hub.CreateIssue("acme/interface", "Found by its number", "", "ann")
	must(t, err)
	must(t, hub.AddLabel("acme/interface", n, "run:dev", "ann"))
	now = now.Add(2 * compareEvery)
	must(t, f.h.compare(t.Context(), now))
	f.want("renamed", f.lines(`SELECT full_name || ' ' || name FROM repositories`), []string{"acme/api acme/Interface"})
	f.want("told of by its new name", f.lines(`SELECT convert_from(data, 'UTF8')::jsonb ->> 'repository' FROM events WHERE type LIKE 'dev.codexk8s.%'`), []string{"acme/Interface"})
	f.want("one work item", f.lines(`SELECT DISTINCT work_item FROM audit WHERE action = 'label.observed'`), []string{fmt.Sprintf("acme/api#%d", n)})
}

// In a database that knows names only, both names of a renamed repository are bound, and a run is under way by the new
// one.
func TestAFormerNameTakesNothingFromThePresentOne(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	must(t, hub.MoveRepository("acme/api", "acme/interface", "acme"))
	f.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/interface', 'p')`)
	f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/interface', 1, 'acme/interface')`)
	f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ('8a6d58b1-5a39-4bd4-8fd0-0e6a7d2c1f11', 'acme/interface', 1, 'p', 'dev', 'dev', 'running', 'codex', 'm', 'ann', 'i', 'n', now())`)
	clients, err := github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	f.h.clients = clients
	now := time.Now()
	for range 2 {
		must(t, f.h.compare(t.Context(), now))
		now = now.Add(2 * compareEvery)
	}
	f.want("whose number it is", f.lines(`SELECT full_name || ' ' || (github_id IS NOT NULL) FROM repositories ORDER BY full_name`),
		[]string{"acme/api false", "acme/interface true"})
	home, err := f.db.RepositoryOfRun(t.Context(), "8a6d58b1-5a39-4bd4-8fd0-0e6a7d2c1f11")
	must(t, err)
	seen, err := f.db.Repository(t.Context(), home.ID, "acme/interface")
	must(t, err)
	if home.ID == 0 || seen != home {
		t.Errorf("the run hangs on %+v, and a webhook finds %+v", home, seen)
	}
}
