package store_test

import (
	"context"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// variant is the built-in process with another time-out.
func variant(timeout string) *stage.Process {
	p, err := stage.Parse([]byte(strings.Replace(stage.Default().Text, "timeout: 60m", "timeout: "+timeout, 1)))
	if err != nil {
		panic(err) // a test of stage reads it
	}
	return p
}

// goesBy makes it the process of the project shop, nil the installation's.
func (w *world) goesBy(p *stage.Process) {
	w.Helper()
	f := &project.File{Projects: []project.Project{{ID: "shop", Name: "Shop"}}}
	if p != nil {
		f.Projects[0].Process = project.Block{Text: p.Text, Line: 1}
	}
	if err := w.as("migrate").SaveProjects(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

// load loads issue 12 of acme/shop as stage-router does, hands it to f, and keeps what f makes of it.
func (w *world) load(db *store.DB, f func(stage.Item) stage.Item) {
	w.Helper()
	home, err := db.Home(w.Context(), stage.Subject{Repository: "acme/shop", Issue: 12})
	if err != nil {
		w.Fatal(err)
	}
	err = w.step(db, pgtest.One[string](w.sql, `SELECT gen_random_uuid()::text`), item, func(ctx context.Context, tx *store.Tx) error {
		loaded, _, err := tx.Item(ctx, home, stage.Needs{Artefacts: true})
		if err != nil {
			return err
		}
		return tx.SaveItem(ctx, f(loaded), loaded)
	})
	if err != nil {
		w.Fatal(err)
	}
}

// processes are the time-outs by the process of issue 12's project, of its newest run, and of its place in the queue.
func (w *world) processes(db *store.DB) (got [3]string) {
	w.Helper()
	timeout := func(p *stage.Process) string {
		if p == nil {
			return "unknown"
		}
		return p.Stage("dev").Timeout.String() + p.Fault
	}
	w.load(db, func(i stage.Item) stage.Item {
		got[0], got[1] = timeout(i.Process), "no run"
		if i.Run != nil {
			got[1] = timeout(i.Run.Process)
		}
		return i
	})
	err := w.step(db, pgtest.One[string](w.sql, `SELECT gen_random_uuid()::text`), "project/shop", func(ctx context.Context, tx *store.Tx) error {
		_, places, err := tx.Places(ctx, "shop")
		for _, p := range places {
			got[2] += timeout(p.Process)
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return got
}

// A run goes by the process that it was requested by, for an instance that has read it and for one that has not,
// whatever the project goes by meanwhile.
func TestARunKeepsItsProcess(t *testing.T) {
	w := newWorld(t)
	own, later := variant("7m"), variant("8m")
	warm := w.as("stage-router")
	warm.UseProcess(variant("5m"))
	want := func(what string, want [3]string) {
		t.Helper()
		cold := w.as("stage-router")
		cold.UseProcess(variant("6m"))
		for name, db := range map[string]*store.DB{"read before": warm, "not read before": cold} {
			if got := w.processes(db); got != want {
				t.Errorf("%s, %s: %q, want %q", what, name, got, want)
			}
		}
	}
	w.goesBy(own)
	want("before any run", [3]string{"7m0s", "no run", ""})
	w.load(warm, func(i stage.Item) stage.Item {
		i.Run = &stage.Run{
			ID: runA, Project: "shop", Stage: "dev", Kind: events.KindWork, Role: "dev", State: stage.Requested, Engine: "codex", Intent: "i",
			Process: i.Process, Grant: &stage.Grant{Process: i.Process.Hash}, CreatedAt: w.now(),
		}
		return i
	})
	want("with a run", [3]string{"7m0s", "7m0s", "7m0s"})
	w.goesBy(later)
	want("after a change", [3]string{"8m0s", "7m0s", "7m0s"})

	w.sql.Do(`UPDATE runs SET granted = '{"process": "0123456789ab"}'`)
	want("whose process is not known", [3]string{"8m0s", "unknown", "8m0s"})
	w.sql.Do(`UPDATE runs SET granted = NULL`)
	want("of a release before", [3]string{"8m0s", "unknown", "8m0s"})
	w.sql.Do(`UPDATE processes SET text = 'version: 2'`)
	w.sql.Do(`UPDATE runs SET granted = jsonb_build_object('process', $1::text)`, own.Hash)
	cold := w.as("stage-router")
	cold.UseProcess(own)
	if got := w.processes(cold); !strings.HasPrefix(got[0], "7m0sthe process is invalid: line 1: version is 2, this release reads 1") || got[1] != "7m0s" {
		t.Errorf("a later release's process: %q", got)
	}
	w.goesBy(nil)
	if got := w.processes(cold); got != [3]string{"7m0s", "7m0s", "7m0s"} {
		t.Errorf("by the installation's again: %q", got)
	}
	if r, err := cold.Repository(t.Context(), 0, "acme/other"); err != nil || r.Process.Stage("dev").Timeout.String() != "7m0s" {
		t.Errorf("a repository that is bound to no project: %+v, %v", r, err)
	}
	if got := w.sql.Lines(`SELECT version || ' ' || (hash IS NULL) FROM project_processes ORDER BY version`); strings.Join(got, ", ") != "1 false, 2 false, 3 true" {
		t.Errorf("versions %q", got)
	}
}
