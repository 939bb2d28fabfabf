package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// numbered is the projects file of a world in which GitHub's numbers are known.
func numbered(t *testing.T) *project.File {
	t.Helper()
	f, err := project.Parse([]byte("owners: [ann@5]\nprojects: [{id: shop, repositories: [acme/shop@1], settings: {parallel: 2}, members: {bob@6: reader, ann@5: reader}}]"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A step sees the repository and then the account for the first time, and a file gives both their numbers meanwhile,
// the account's first: one waits for the other before it has locked anything.
func TestAStepAndAFileLockInOneOrder(t *testing.T) {
	w := newWorld(t)
	w.sql.Do(`INSERT INTO members (project_id, login, role) VALUES ('*', 'ann', 'owner'), ('shop', 'ann', 'reader')`)
	db, saved := w.as("stage-router"), make(chan error, 1)
	r, err := db.Repository(t.Context(), 0, "acme/shop")
	if err != nil {
		t.Fatal(err)
	}
	stepped := w.step(db, "1", item, func(ctx context.Context, tx *store.Tx) error {
		if _, _, err := tx.SeeRepository(ctx, r, store.Sighting{ID: 1, Name: "Acme/Shop", At: w.now()}); err != nil {
			return err
		}
		migrate, file := w.as("migrate"), numbered(t)
		go func() { saved <- migrate.SaveProjects(ctx, file) }()
		for pgtest.One[int](w.sql, `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		_, err := tx.SeeAccount(ctx, store.Account{ID: 5, Login: "ann"})
		return err
	})
	if err := errors.Join(stepped, <-saved); err != nil {
		t.Error(err)
	}
}

// decide is a step of stage-router over what is in the database.
func (w *world) decide(db *store.DB, id string, about stage.Subject, in stage.Input) error {
	home, err := db.Home(w.Context(), about)
	if err != nil {
		return err
	}
	return w.step(db, id, home.Key(), func(ctx context.Context, tx *store.Tx) error {
		i, _, err := tx.Item(ctx, home, in.Needs(home.Repository.Key, home.Issue))
		if err != nil {
			return err
		}
		next, _, err := stage.Decide(i, in, tx.Now())
		if err != nil {
			return err
		}
		return tx.SaveItem(ctx, next, i)
	})
}

// Work items and their project, the agents' own statements and the projects file all meet in the rows of runs,
// repositories and members. Whoever meets another waits or is told that the row was changed; none is ever the victim of
// a deadlock.
func TestWhatMeetsInARowNeverDeadlocks(t *testing.T) {
	const issues = 8
	w := newWorld(t)
	w.queue(issues)
	w.sql.Do(`INSERT INTO members (project_id, login, role) VALUES ('*', 'ann', 'owner'), ('shop', 'ann', 'reader'), ('shop', 'bob', 'reader')`)
	ann := stage.Person{Login: "ann", ID: 5}
	file, reported := numbered(t), events.AgentReported{Outcome: "succeeded", PullRequest: 7}
	failed := atOnce(7*issues, func(n int) error {
		i, db := n/7, w.as("stage-router")
		id, about := runID(i), stage.Subject{Repository: "Acme/Shop", RepositoryID: 1, Issue: 100 + i, At: w.now()}
		ref := events.RunRef{RunID: id, Project: "shop", Repository: "Acme/Shop", Issue: 100 + i}
		switch n % 7 {
		case 0, 1:
			return w.step(db, fmt.Sprint(n), "project/shop", func(ctx context.Context, tx *store.Tx) error {
				settings, places, err := tx.Places(ctx, "shop")
				for _, a := range stage.Admit(settings, places, tx.Now()) {
					err = errors.Join(err, tx.Admit(ctx, a))
				}
				return err
			})
		case 2:
			return w.decide(db, fmt.Sprint(n), about, stage.Labeled{Issue: stage.Issue{Labels: []string{"run:abort"}}, Label: "run:abort", Sender: ann, Delivery: id})
		case 3:
			return w.decide(db, fmt.Sprint(n), stage.Subject{Run: id, Issue: 100 + i}, stage.JobFailed{AgentFailed: events.AgentFailed{RunRef: ref, Reason: "evicted"}})
		case 4:
			_, err := db.KeepBase(t.Context(), id, strings.Repeat("a", 40), true)
			return errors.Join(err, db.Heartbeat(t.Context(), id))
		case 5:
			r := reported
			r.RunRef = ref
			_, _, err := db.SaveReport(t.Context(), r)
			return errors.Join(err, w.decide(db, fmt.Sprint(n), stage.Subject{Run: id, Issue: 100 + i}, stage.Reported{AgentReported: r}))
		default:
			return db.SaveProjects(t.Context(), file)
		}
	})
	for said, times := range failed {
		if said != "<nil>" && !strings.Contains(said, store.ErrChanged.Error()) {
			t.Errorf("%d times: %s", times, said)
		}
	}
	if n := pgtest.One[int](w.sql, `SELECT count(*)::int FROM runs WHERE finished_at IS NULL`); n > 0 && failed["<nil>"] == 7*issues {
		t.Errorf("%d runs go on, though each was ended three times", n)
	}
}
