package migrations_test

import (
	"context"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// What the release before writes when an agent reports.
const (
	oldReport = `INSERT INTO run_reports (run_id, report, reported_at) VALUES ($1, jsonb_build_object('outcome', 'succeeded', 'pullRequest', $2::int), now())`
	oldPull   = `UPDATE work_items SET pull_request = $2 WHERE issue = $1`
)

// TestWhatRunsHaveMadeIsKnown: what was reported before the upgrade, each by its first run; and whichever release takes
// a report after it, the other one finds the pull request.
func TestWhatRunsHaveMadeIsKnown(t *testing.T) {
	url, exec := before(t, 19)
	exec(oldReport, working, 7)
	exec(oldReport, revising, 8)
	exec(oldPull, 1, 7)
	exec(oldPull, 2, 9)
	if _, err := migrations.Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	sql := pgtest.Open(t, url)
	want := []string{working + " dev pull_request 7 t", revising + " dev pull_request 8 f"}
	if diff := cmp.Diff(want, sql.Lines(`SELECT concat_ws(' ', run_id, stage, name, value, superseded_at IS NULL) FROM artefacts ORDER BY issue`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	exec(oldRun, later, 3, false)
	exec(oldReport, later, 11) // it is still running
	exec(oldPull, 3, 11)
	db, err := store.Open(t.Context(), "stage-router", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(t.Context()) })
	e := event.New()
	e.SetSource("/test")
	e.SetID("1")
	e.SetType("t")
	sql.Log(e.Source(), e.ID(), e.Type(), nil)
	if _, err := db.Step(t.Context(), e, "acme/demo#3", func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		item, _, err := tx.Item(ctx, store.Home{Repository: store.Repository{Key: "acme/demo", Process: stage.Default()}, Issue: 3}, stage.Needs{Artefacts: true})
		if err != nil || item.PullOf(11).Number == 0 || len(item.Artefacts) != 0 {
			t.Errorf("of the release before: pull requests %+v, made %+v, %v", item.Pulls, item.Artefacts, err)
		}
		next, d, err := stage.Decide(item, stage.Reported{AgentReported: events.AgentReported{
			RunRef: events.RunRef{RunID: later, Repository: "acme/demo", Issue: 3}, Outcome: "succeeded", PullRequest: 12,
		}}, tx.Now())
		if err != nil {
			return d, err
		}
		return d, tx.SaveItem(ctx, next, item)
	}); err != nil {
		t.Fatal(err)
	}
	if got := sql.Lines(`SELECT pull_request || ' ' || value FROM work_items JOIN artefacts USING (repository, issue) WHERE issue = 3`); !cmp.Equal(got, []string{"12 12"}) {
		t.Errorf("the release before finds, and this one has: %q", got)
	}
}
