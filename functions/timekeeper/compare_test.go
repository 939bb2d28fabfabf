package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// hub is a GitHub whose webhooks reach nobody, with the repository acme/api bound to a project, and with its labels.
func (f *fixture) hub() (hub *fakegithub.Server, annsToken, address string) { return f.hubAt(nil) }

// hubAt is hub with a clock.
func (f *fixture) hubAt(now func() time.Time) (hub *fakegithub.Server, annsToken, address string) {
	f.t.Helper()
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	f.t.Cleanup(down.Close)
	hub, err := fakegithub.New(fakegithub.Options{Now: now, Logger: slog.New(slog.DiscardHandler)})
	must(f.t, err)
	f.t.Cleanup(func() { _ = hub.Close() })
	must(f.t, hub.CreateOrganization("acme"))
	annsToken, err = hub.CreateUser("ann")
	must(f.t, err)
	must(f.t, hub.CreateRepository("acme/api", map[string]string{"README.md": "api"}))
	must(f.t, hub.AddCollaborator("acme/api", "ann", "admin"))
	for _, l := range stage.Default().Catalogue() { // of which none is asked for, then
		must(f.t, hub.CreateLabel("acme/api", fakegithub.Label{Name: l.Name, Color: l.Colour, Description: l.Description}))
	}
	f.exec(`INSERT INTO projects (id, name) VALUES ('p', 'P')`)
	f.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/api', 'p')`)
	return hub, annsToken, down.URL + "/github"
}

// ask creates an issue and sets the trigger label.
func (f *fixture) ask(hub *fakegithub.Server, title string) (issue int) {
	f.t.Helper()
	n, err := hub.CreateIssue("acme/api", title, "", "ann")
	must(f.t, err)
	must(f.t, hub.AddLabel("acme/api", n, "run:dev", "ann"))
	must(f.t, hub.Flush(f.t.Context()))
	return n
}

const storedTypes = `SELECT type FROM events ORDER BY type COLLATE "C"`

func TestWhatGitHubSentAndWeNeverGot(t *testing.T) {
	f := setup(t)
	hub, token, address := f.hub()
	hook, err := hub.AddHook("acme/api", fakegithub.HookOptions{URL: address, Secret: "x"})
	must(t, err)
	n := f.ask(hub, "Add search")
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)

	now := time.Now()
	must(t, f.h.compare(t.Context(), now)) // all too fresh
	f.want("fresh", f.lines(storedTypes), []string{})
	now = now.Add(2 * compareEvery)
	must(t, f.h.compare(t.Context(), now))
	want := []string{events.LabelObserved{}.EventType(), events.GitHubType("issues"), events.GitHubType("issues")}
	f.want("stored", f.lines(storedTypes), want)
	slices.Sort(f.sent)
	f.want("sent", f.sent, want)
	f.want("observed", f.lines(`SELECT (convert_from(data, 'UTF8')::jsonb - 'url' - 'cloneUrl' - 'labeledAt' - 'updatedAt' - 'senderId' - 'repositoryId')::text FROM events WHERE type LIKE 'dev.codexk8s.%'`), []string{
		fmt.Sprintf(`{"issue": %d, "label": "run:dev", "title": "Add search", "labels": ["run:dev"], "sender": "ann", "repository": "acme/api", "senderType": "User", "defaultBase": "main"}`, n),
	})
	f.want("hook", f.lines(`SELECT hook_id || ' ' || full_name FROM repositories WHERE reconciled_at IS NOT NULL`), []string{fmt.Sprint(hook, " acme/api")})
	must(t, f.h.compare(t.Context(), now.Add(2*compareEvery)))
	f.want("once more", f.lines(storedTypes), want)
	if len(f.sent) != 3 {
		t.Errorf("sent %q", f.sent)
	}
	must(t, hub.FailNext(fakegithub.Fault{Kind: "primary"}))
	must(t, f.h.compare(t.Context(), now.Add(5*compareEvery)))
	f.want("pauses", f.lines(`SELECT left(credential, 6) FROM github_pauses`), []string{"token:"})
}

// Whose label's webhook was lost may have seen another text than the issue has now.
func TestATextThatWasChangedSinceItsLabel(t *testing.T) {
	f := setup(t)
	at := time.Now()
	hub, token, _ := f.hubAt(func() time.Time { return at })
	_, err := hub.CreateUser("mallory")
	must(t, err)
	must(t, hub.AddCollaborator("acme/api", "mallory", "write"))
	labelled := func(title string) int {
		t.Helper()
		n, err := hub.CreateIssue("acme/api", title, "Text", "ann")
		must(t, err)
		must(t, hub.EditIssue("acme/api", n, title, "Text before the label", "mallory"))
		at = at.Add(time.Second)
		must(t, hub.AddLabel("acme/api", n, "run:dev", "ann"))
		at = at.Add(time.Second)
		return n
	}
	labelled("As it was")
	must(t, hub.EditIssue("acme/api", labelled("Text by another"), "Text by another", "Delete everything", "mallory"))
	must(t, hub.EditIssue("acme/api", labelled("Title by another"), "Title by another!", "Text before the label", "mallory"))
	must(t, hub.EditIssue("acme/api", labelled("By who set it"), "By who set it!", "More", "ann"))
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	must(t, f.h.compare(t.Context(), at.Add(2*compareEvery)))
	f.want("observed", f.lines(`SELECT (d ->> 'title') || ' ' || coalesce(d ->> 'rewriter', '-') FROM events, LATERAL (SELECT convert_from(data, 'UTF8')::jsonb AS d) AS payload WHERE type LIKE '%label.observed' ORDER BY 1`), []string{
		"As it was -", "By who set it! -", "Text by another mallory", "Title by another! mallory",
	})
}

// A repository whose issues are turned off has no labels to compare, and is compared in all else.
func TestARepositoryWithoutIssues(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/repos/acme/api/issues") {
			http.Error(w, `{"message":"Issues has been disabled in this repository."}`, http.StatusGone)
			return
		}
		hub.ServeHTTP(w, r)
	}))
	t.Cleanup(gone.Close)
	var err error
	f.h.clients, err = github.Open(github.Config{URL: gone.URL, Token: token})
	must(t, err)
	must(t, f.h.compare(t.Context(), time.Now()))
	f.want("compared", f.lines(`SELECT full_name FROM repositories WHERE reconciled_at IS NOT NULL`), []string{"acme/api"})
}

// The labels that are looked for are those of the project's own process, where it has one.
func TestTheLabelsOfAProjectsOwnProcess(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	n, err := hub.CreateIssue("acme/api", "Explain search", "", "ann")
	must(t, err)
	must(t, hub.AddLabel("acme/api", n, "run:docs", "ann"))
	own := strings.ReplaceAll(stage.Default().Text, "run:dev", "run:docs")
	must(t, f.as("migrate").SaveProjects(t.Context(), &project.File{Projects: []project.Project{{ID: "p", Name: "P", Process: project.Block{Text: own, Line: 1}}}}))
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	must(t, f.h.compare(t.Context(), time.Now().Add(2*compareEvery)))
	f.want("observed", f.lines(`SELECT convert_from(data, 'UTF8')::jsonb ->> 'label' FROM events WHERE type LIKE '%label.observed'`), []string{"run:docs"})
}

// A discussion whose label's webhook was lost begins all the same, beside a run too, and once.
func TestADiscussionWithoutAWebhook(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	n, err := hub.CreateIssue("acme/api", "Talk about search", "", "ann")
	must(t, err)
	must(t, hub.AddLabel("acme/api", n, "mode:discussion", "ann"))
	must(t, hub.AddLabel("acme/api", n, "bug", "ann"))
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	now := time.Now().Add(2 * compareEvery)
	for range 2 {
		must(t, f.h.compare(t.Context(), now))
		f.want("observed", f.lines(`SELECT convert_from(data, 'UTF8')::jsonb ->> 'label' FROM events WHERE type LIKE '%label.observed'`), []string{"mode:discussion"})
		now = now.Add(2 * compareEvery)
	}
}

// An App's own hook and a repository's hook send an event under the same GUID, each with a payload of its own.
func TestWhatGitHubSentToTheAppAndWeNeverGot(t *testing.T) {
	f := setup(t)
	hub, token, address := f.hub()
	hub.SetAppHook(address, "x")
	f.ask(hub, "Search & replace") // heard by the App alone
	_, err := hub.AddHook("acme/api", fakegithub.HookOptions{URL: address, Secret: "x"})
	must(t, err)
	f.ask(hub, "Heard by both")
	for range 101 { // more than a page
		_, err := hub.CreateIssue("acme/api", "Nothing", "", "ann")
		must(t, err)
	}
	must(t, hub.Flush(t.Context()))
	begin := func() {
		t.Helper()
		f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), AppID: hub.AppID(), AppKey: hub.AppPrivateKey()})
		must(t, err)
		_, err = f.h.clients.For(t.Context(), "acme/api") // so that the App's limit does not keep it from being found
		must(t, err)
	}
	begin()
	app := f.h.clients.App()

	now := time.Now().Add(compareEvery)
	must(t, hub.FailNext(fakegithub.Fault{Kind: "primary", Path: "/app/hook"}))
	if err := f.h.compare(t.Context(), now); err == nil || !strings.Contains(err.Error(), "rate limit") {
		t.Errorf("at the App's limit: %v", err)
	}
	const byRepository = `SELECT full_name FROM repositories WHERE reconciled_at IS NOT NULL`
	f.want("the repository's turn, in spite of it", f.lines(byRepository), []string{"acme/api"})
	f.want("pauses", f.lines(`SELECT credential FROM github_pauses`), []string{app.Credential})
	const issues = `SELECT count(*)::text FROM events WHERE type = 'dev.knative.source.github.issues'`
	f.want("what the repository's hook had", f.lines(issues), []string{"103"})

	f.exec(`DELETE FROM github_pauses`)
	begin() // go-github remembers the limit
	app = f.h.clients.App()
	now = now.Add(2 * compareEvery)
	must(t, f.h.compare(t.Context(), now))
	f.want("with what only the App's hook had", f.lines(issues), []string{"105"})
	f.want("refused as reused", f.lines(`SELECT reason FROM audit WHERE action = 'delivery.refused'`), []string{})
	f.want("one after the other", f.lines(`SELECT convert_from(data, 'UTF8')::jsonb ->> 'action' FROM events
		WHERE convert_from(data, 'UTF8')::jsonb ? 'installation' ORDER BY stored_at`), []string{"opened", "labeled"})
	f.want("until", f.lines(`SELECT credential FROM app_hooks WHERE reconciled_at > now() + interval '10 minutes'`), []string{app.Credential})
	sent := len(f.sent)
	must(t, f.h.compare(t.Context(), now.Add(2*compareEvery)))
	if len(f.sent) != sent {
		t.Errorf("sent %q once more", f.sent[sent:])
	}
	f.redeliver(hub, token, app)
}

// redeliver has a person press "Redeliver" on what was taken from the list: the webhook's bytes are others.
func (f *fixture) redeliver(hub *fakegithub.Server, token string, app *github.Client) {
	t, ctx := f.t, f.t.Context()
	list, _, err := app.Apps.ListHookDeliveries(ctx, &gh.ListCursorOptions{PerPage: 100})
	must(t, err)
	for _, d := range append(list, &gh.HookDelivery{ID: gh.Int64(hub.Deliveries()[0].ID)}) {
		sent, err := hub.Delivery(d.GetID())
		must(t, err)
		classified, err := webhook.Classify(sent.Event, sent.GUID, sent.Payload)
		must(t, err)
		outcomes, err := f.db.Receive(ctx, []store.Arrival{store.Delivered(classified.CloudEvent(sent.Payload, time.Now()), 7, webhook.SamePayload)})
		must(t, err)
		if outcomes[0] != store.Duplicate {
			t.Fatalf("delivery %d is %s", d.GetID(), outcomes[0])
		}
	}
}

// A delivery that GitHub no longer has keeps none of the others from coming in, nor does one with a zero byte.
func TestOneLostDeliveryDoesNotHoldUpTheOthers(t *testing.T) {
	f := setup(t)
	payload := func(action string) *json.RawMessage {
		raw := json.RawMessage(fmt.Sprintf(`{"action":"%s","issue":{"number":1},"repository":{"full_name":"acme/api"}}`, action))
		return &raw
	}
	now := time.Now()
	requests := map[int64]*gh.HookRequest{
		1: {RawPayload: payload("opened"), Headers: map[string]string{"X-GitHub-Hook-ID": "99"}},
		3: nil,
		4: {RawPayload: payload(`\u0000`)},
		5: {RawPayload: payload("closed")},
	}
	log := hookLog{
		list: func(_ context.Context, _ *gh.ListCursorOptions) ([]*gh.HookDelivery, *gh.Response, error) {
			var page []*gh.HookDelivery
			for id := int64(5); id > 0; id-- {
				page = append(page, &gh.HookDelivery{
					ID: gh.Int64(id), GUID: gh.String(fmt.Sprint("guid-", id)), Event: gh.String("issues"), DeliveredAt: &gh.Timestamp{Time: now.Add(-time.Hour)},
				})
			}
			return page, &gh.Response{}, nil
		},
		get: func(_ context.Context, id int64) (*gh.HookDelivery, *gh.Response, error) {
			r, ok := requests[id]
			if !ok {
				return nil, nil, &gh.ErrorResponse{Response: &http.Response{StatusCode: http.StatusNotFound}}
			}
			return &gh.HookDelivery{GUID: gh.String(fmt.Sprint("guid-", id)), Event: gh.String("issues"), Request: r}, &gh.Response{}, nil
		},
	}
	must(t, f.h.takeMissing(t.Context(), log, time.Time{}, now))
	f.want("taken", f.lines(`SELECT guid || ' ' || action || ' ' || hook_id FROM deliveries ORDER BY received_at`), []string{"guid-1 opened 99", "guid-4  0", "guid-5 closed 0"})
}
