package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// An outage on our side lasted while people set a label and took it off, closed and reopened: what is over is not acted
// upon. A label that the platform took off (its account is ann's here) was answered, in a database that is gone.
func TestWhatIsOverIsKnownAndHeardByNobody(t *testing.T) {
	f := setup(t)
	hub, token, address := f.hub()
	_, err := hub.AddHook("acme/api", fakegithub.HookOptions{URL: address, Secret: "x"})
	must(t, err)
	off := f.ask(hub, "Taken off again")
	_, err = hub.CreateUser("bob")
	must(t, err)
	must(t, hub.AddCollaborator("acme/api", "bob", "write"))
	must(t, hub.RemoveLabel("acme/api", off, "run:dev", "bob"))
	unasked, err := hub.CreateIssue("acme/api", "To be reviewed, and not any more", "", "ann")
	must(t, err)
	must(t, hub.AddLabel("acme/api", unasked, "need:reviewer", "ann"))
	must(t, hub.RemoveLabel("acme/api", unasked, "need:reviewer", "bob"))
	answered := f.ask(hub, "Answered before the database was restored")
	must(t, hub.RemoveLabel("acme/api", answered, "run:dev", "ann"))
	closed := f.ask(hub, "Closed meanwhile")
	must(t, hub.CloseIssue("acme/api", closed, "ann"))
	open := f.ask(hub, "Closed and reopened")
	must(t, hub.CloseIssue("acme/api", open, "ann"))
	must(t, hub.ReopenIssue("acme/api", open, "ann"))
	must(t, hub.Flush(t.Context()))
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	must(t, f.h.compare(t.Context(), time.Now().Add(2*compareEvery)))

	const acts = `SELECT (convert_from(e.data, 'UTF8')::jsonb #>> '{issue,number}') || ' ' || d.action FROM events e JOIN deliveries d ON d.guid = e.id
		WHERE %s EXISTS (SELECT 1 FROM pending p WHERE p.id = e.id) ORDER BY 1`
	f.want("to be handled", f.lines(fmt.Sprintf(acts, "")), slices.Sorted(slices.Values([]string{
		fmt.Sprint(off, " opened"), fmt.Sprint(off, " unlabeled"), fmt.Sprint(unasked, " opened"), fmt.Sprint(unasked, " unlabeled"), fmt.Sprint(closed, " opened"), fmt.Sprint(closed, " closed"),
		fmt.Sprint(open, " opened"), fmt.Sprint(open, " labeled"), fmt.Sprint(open, " reopened"),
		fmt.Sprint(answered, " opened"), fmt.Sprint(answered, " labeled"), fmt.Sprint(answered, " unlabeled"),
	})))
	f.want("known, and history", f.lines(fmt.Sprintf(acts, "NOT")), slices.Sorted(slices.Values([]string{
		fmt.Sprint(off, " labeled"), fmt.Sprint(unasked, " labeled"), fmt.Sprint(closed, " labeled"), fmt.Sprint(open, " closed"),
	})))
	sent := len(f.sent)
	must(t, f.h.compare(t.Context(), time.Now().Add(4*compareEvery)))
	if len(f.sent) != sent {
		t.Errorf("sent %q once more", f.sent[sent:])
	}
}

// Labels are looked for in whatever spelling, and one that stops a run too.
func TestLabelsWhoseWebhookNeverCame(t *testing.T) {
	f := setup(t)
	hub, token, _ := f.hub()
	dev, err := hub.CreateIssue("acme/api", "In other letters", "", "ann")
	must(t, err)
	must(t, hub.AddLabel("acme/api", dev, "Run:Dev", "ann"))
	stop := f.ask(hub, "To be stopped")
	f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/api', $1, 'acme/api')`, stop)
	f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES (gen_random_uuid(), 'acme/api', $1, 'p', 'dev', 'dev', 'running', 'e', 'm', 'ann', 'i', 'n', $2)`, stop, time.Now().Add(-time.Minute))
	must(t, hub.AddLabel("acme/api", stop, "Run:Abort", "ann"))
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	must(t, f.h.compare(t.Context(), time.Now().Add(2*compareEvery)))
	must(t, f.h.compare(t.Context(), time.Now().Add(4*compareEvery)))
	var got []string
	for _, data := range f.lines(`SELECT convert_from(data, 'UTF8') FROM events WHERE type LIKE 'dev.codexk8s.%'`) {
		var l events.LabelObserved
		must(t, json.Unmarshal([]byte(data), &l))
		if l.UpdatedAt.IsZero() || l.UpdatedAt.Before(l.LabeledAt.Add(-time.Second)) {
			t.Errorf("observed at %s, labelled at %s", l.UpdatedAt, l.LabeledAt)
		}
		got = append(got, fmt.Sprint(l.Issue, " ", l.Label))
	}
	slices.Sort(got)
	f.want("observed", got, []string{fmt.Sprint(dev, " run:dev"), fmt.Sprint(stop, " run:abort")})
}
