package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/build"
	"codexk8s.dev/test/local/pg"
	"codexk8s.dev/test/local/stack"
)

// TestABackupBringsEverythingBack does what config/observability/README.md says under "Backup and restore" to a
// platform at work:
//
//	issue 1   finished before the backup
//	issue 2   at work at the backup, finished afterwards
//	issue 3   labelled and finished after the backup: the database has never heard of it
//	issue 4   labelled after the backup, its agent at work all the while
//	issue 5   labelled while there is no database
//
// All end as if nothing had happened. What the restored database doesn't know comes from GitHub's list of deliveries
// and from what the agents have pushed.
func TestABackupBringsEverythingBack(t *testing.T) {
	w := start(t, 5, 1)
	normal := model.Behaviour{}
	busy := model.Behaviour{Mode: model.Overloaded, RetryAfter: time.Second}
	dump := filepath.Join(t.TempDir(), "codexk8s.dump")

	w.stack.Model.Behave(normal)
	w.run(1)
	w.awaitGood(1)
	w.stack.Model.Behave(busy)
	w.run(2)
	w.awaitAtWork(2)
	w.backup(dump)
	w.stack.Model.Behave(normal)
	w.awaitGood(1, 2)
	w.run(3)
	w.awaitGood(1, 2, 3)
	w.stack.Model.Behave(busy)
	w.run(4)
	w.awaitAtWork(4)
	var forgotten []string
	for _, issue := range w.issues[2:4] {
		forgotten = append(forgotten, stage.Namespace(events.WorkItem(stack.Repository, issue)))
	}

	w.lose()
	w.run(5) // webhook-adapter can't store it, so GitHub's list says that it failed
	if err := w.stack.GitHub.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stack.Model.Behave(normal)
	w.restore(dump)
	slices.Sort(forgotten)
	if diff := cmp.Diff(forgotten, w.forgottenNamespaces()); diff != "" {
		t.Errorf("namespaces of runs that the doctor finds unknown (-want +got):\n%s", diff)
	}
	w.age(20 * time.Minute)
	w.settleRestored()
	w.repeated(2)
	w.everyWebhookIsKnown()
	w.drainTimers()
	w.verifyAudit()
	w.noDeadLetters()
	if found := w.forgottenNamespaces(); len(found) > 0 {
		t.Errorf("the doctor still finds namespaces of unknown runs: %v", found)
	}
}

// repeated holds the test to what it is for: only this issue's agent was started again by a decision, to say again what
// the database had lost.
func (w *world) repeated(issue int) {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT work_item FROM audit WHERE action = 'run.repeated'`)
	if err != nil {
		w.t.Fatal(err)
	}
	items, err := texts(rows)
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff([]string{events.WorkItem(stack.Repository, w.issues[issue-1])}, items); diff != "" {
		w.t.Errorf("runs that were repeated (-want +got):\n%s", diff)
	}
}

// run labels an issue.
func (w *world) run(issue int) {
	w.t.Helper()
	if err := w.stack.GitHub.AddLabel(stack.Repository, w.issues[issue-1], stack.LabelDev, stack.Owner); err != nil {
		w.t.Fatal(err)
	}
}

// awaitGood waits until these issues are as they should be.
func (w *world) awaitGood(issues ...int) {
	w.t.Helper()
	w.eventually("the run's end", func(context.Context) error {
		problems := w.problems()
		for _, n := range issues {
			if p := problems[w.issues[n-1]]; p != "" {
				return errors.New(p)
			}
		}
		return nil
	})
}

// awaitAtWork waits until the issue's agent is at work.
func (w *world) awaitAtWork(issue int) {
	w.t.Helper()
	w.eventually("an agent at work", func(ctx context.Context) error {
		var beats bool
		err := w.db.QueryRow(ctx, `SELECT heartbeat_at IS NOT NULL FROM runs WHERE issue = $1 AND state = 'running'`, w.issues[issue-1]).Scan(&beats)
		if err == nil && !beats {
			err = errors.New("no heartbeat yet")
		}
		return err
	})
}

// program runs one of Postgres' programs; arguments with a database's URL come last.
func (w *world) program(name string, args ...string) {
	w.t.Helper()
	bin, err := pg.Find()
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(bin, name)
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(name); err != nil {
			w.t.Fatalf("there is no %s beside %s/postgres and none in PATH: install PostgreSQL's client programs", name, bin)
		}
	}
	if out, err := exec.CommandContext(w.t.Context(), path, args...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// named is the URL of another database of the same server.
func (w *world) named(database string) string {
	w.t.Helper()
	u, err := url.Parse(w.stack.Platform.DatabaseURL())
	if err != nil {
		w.t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

func (w *world) admin(statements ...string) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.named("postgres"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(w.t.Context())) }()
	for _, s := range statements {
		if _, err := conn.Exec(w.t.Context(), s); err != nil {
			w.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (w *world) backup(file string) {
	w.t.Helper()
	w.program("pg_dump", "--format=custom", "--file="+file, w.stack.Platform.DatabaseURL())
}

// lose takes the database away, and what the functions and the Broker have in their memory.
func (w *world) lose() {
	w.t.Helper()
	w.admin(`DROP DATABASE codexk8s WITH (FORCE)`)
	for _, name := range functions {
		if _, err := w.stack.Platform.Kill(name); err != nil {
			w.t.Fatal(err)
		}
	}
	w.stack.Platform.Broker().Forget()
}

// restore fills a database beside the functions' own name: under that they find all or nothing.
func (w *world) restore(file string) {
	w.t.Helper()
	w.admin(`CREATE DATABASE codexk8s_restored`)
	w.program("pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", "--dbname="+w.named("codexk8s_restored"), file)
	w.admin(`ALTER DATABASE codexk8s_restored RENAME TO codexk8s`)
	w.db.Reset()
}

// forgottenNamespaces are those whose run the doctor does not find in the database, sorted. What it says of Knative
// does not count: its API is not played here.
func (w *world) forgottenNamespaces() (found []string) {
	w.t.Helper()
	const doctor = "codexk8s.dev/functions/doctor"
	programs, err := build.Images(w.t.Context(), ".", w.t.TempDir(), []string{doctor}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), programs["ko://"+doctor], "-o", "json")
	cmd.Env = append(os.Environ(), "DATABASE_URL="+w.stack.Platform.DatabaseURL(), "KUBECONFIG="+w.stack.Kubeconfig())
	out, _ := cmd.Output() // its exit status is 1 when it finds anything
	var report struct {
		Checks []struct {
			Name   string
			Faults []struct{ What string }
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		w.t.Fatalf("what the doctor said: %v\n%s", err, out)
	}
	for _, check := range report.Checks {
		for _, fault := range check.Faults {
			name, what, _ := strings.Cut(fault.What, ": ")
			switch {
			case check.Name == "run namespaces" && strings.Contains(what, "is not in the database"):
				found = append(found, name)
			case slices.Contains([]string{"run namespaces", "schema", "database", "audit", "dead letters"}, check.Name):
				w.t.Errorf("the doctor on %s: %s", check.Name, fault.What)
			}
		}
	}
	slices.Sort(found)
	return found
}

// age says that the database is so much older than the cluster. Deadlines stay where they are.
func (w *world) age(by time.Duration) {
	w.t.Helper()
	_, err := w.db.Exec(w.t.Context(), `
		UPDATE runs SET started_at = started_at - $1::interval, heartbeat_at = heartbeat_at - $1::interval WHERE finished_at IS NULL
	`, by)
	if err != nil {
		w.t.Fatal(err)
	}
}

// settleRestored lets time pass until all issues are as they should be.
func (w *world) settleRestored() {
	w.t.Helper()
	since := time.Now()
	for {
		problems := w.problems()
		if len(problems) == 0 {
			w.t.Logf("all is as it should be %s after the restore", round(time.Since(since)))
			return
		}
		if time.Since(since) > patience {
			w.explain(problems)
			w.t.FailNow()
		}
		w.passChecks()
		w.compareWithGitHub()
	}
}

// passChecks lets the next check of every run come due.
func (w *world) passChecks() {
	w.t.Helper()
	batch := &pgx.Batch{}
	batch.Queue(`
		UPDATE pending p SET due_at = now()
		FROM events e
		WHERE (p.source, p.id) = (e.source, e.id) AND e.type = 'dev.codexk8s.run.check' AND e.not_before > now()
	`)
	batch.Queue(`UPDATE events SET not_before = now() WHERE type = 'dev.codexk8s.run.check' AND not_before > now()`)
	if err := w.db.SendBatch(w.t.Context(), batch).Close(); err != nil {
		w.t.Fatal(fmt.Errorf("letting the checks come due: %w", err))
	}
}
