package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// write appends n lines to the audit, as a function's decision does.
func (w *world) write(db *store.DB, n int) error {
	d := events.Decision{}
	for range n {
		d.Audit = append(d.Audit, events.Record{Actor: "github:ann", Action: "a", Run: runA, Reason: "r", Detail: "d"})
	}
	_, err := db.Emit(w.Context(), store.Cause{Source: "/test", ID: "1"}, item, decided(d))
	return err
}

func (w *world) seal(db *store.DB, limit int) int {
	w.Helper()
	n, err := db.SealAudit(w.Context(), limit)
	if err != nil {
		w.Fatal(err)
	}
	return n.Rows
}

// The seals cover every row once, in batches, and each its predecessor.
func TestTheAuditIsSealedInAChain(t *testing.T) {
	w := newWorld(t)
	db := w.as("timekeeper")
	if err := w.write(db, 5); err != nil {
		t.Fatal(err)
	}
	if u, err := db.UnsealedAudit(t.Context()); err != nil || u.Rows != 5 || !u.Since.Equal(w.now()) {
		t.Errorf("unsealed %+v, %v", u, err)
	}
	if got := [4]int{w.seal(db, 2), w.seal(db, 2), w.seal(db, 2), w.seal(db, 2)}; got != [4]int{2, 2, 1, 0} {
		t.Errorf("sealed %v", got)
	}
	if last, err := db.VerifyAudit(t.Context()); err != nil || last.Rows != 5 {
		t.Errorf("verified %d rows, %v", last.Rows, err)
	}
	chained := pgtest.One[bool](w.sql, `
		SELECT bool_and(s.previous = coalesce((SELECT p.hash FROM audit_seals p WHERE p.batch = s.batch - 1), ''))
		FROM audit_seals s
	`)
	if u, err := db.UnsealedAudit(t.Context()); err != nil || u.Rows != 0 || !chained {
		t.Errorf("unsealed %+v, %v; each hash covers the one before: %t", u, err, chained)
	}
}

// Whatever is changed of what was sealed, the verification names its batch.
func TestAChangeOfTheAuditIsFound(t *testing.T) {
	for name, change := range map[string]string{
		"a word":                         `UPDATE audit SET detail = 'x' WHERE seq = 3`,
		"a time":                         `UPDATE audit SET at = at + interval '1 microsecond' WHERE seq = 3`,
		"a run":                          `UPDATE audit SET run_id = NULL WHERE seq = 3`,
		"a line is gone":                 `DELETE FROM audit WHERE seq = 4`,
		"a seal is gone":                 `DELETE FROM audit_sealed WHERE batch = 2; DELETE FROM audit_seals WHERE batch = 2`,
		"two words changed places":       `UPDATE audit SET actor = action, action = actor WHERE seq = 3`,
		"a line less, and in its seal":   `DELETE FROM audit WHERE seq = 4; UPDATE audit_seals SET rows = 1, seqs = '{3}' WHERE batch = 2`,
		"the seal covers another line":   `UPDATE audit_seals SET seqs = '{3,5}' WHERE batch = 2`,
		"a line and the hash of its own": `UPDATE audit SET detail = 'x' WHERE seq = 3; UPDATE audit_seals SET hash = sha256('x') WHERE batch = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			db := w.as("timekeeper")
			if err := w.write(db, 6); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				w.seal(db, 2)
			}
			if _, err := w.sql.Exec(t.Context(), change); err == nil && strings.Contains(change, " audit ") {
				t.Error("the audit's guard let it pass")
			}
			w.sql.Do(`ALTER TABLE audit DISABLE TRIGGER ALL; ` + change)
			if last, err := db.VerifyAudit(t.Context()); !errors.Is(err, store.ErrAuditChanged) || last.Rows != 2 {
				t.Errorf("verified %d rows, %v", last.Rows, err)
			}
		})
	}
}

// Functions write while several seal: in the end each row is sealed once, and the chain holds.
func TestManySealAndWriteAtOnce(t *testing.T) {
	w := newWorld(t)
	failed := atOnce(8, func(i int) error {
		db := w.as(fmt.Sprint("f", i))
		for range 10 {
			err := w.write(db, 3)
			if err == nil && i%2 == 0 {
				_, err = db.SealAudit(t.Context(), 7)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	db := w.as("timekeeper")
	for w.seal(db, 50) > 0 {
	}
	last, err := db.VerifyAudit(t.Context())
	if failed["<nil>"] != 8 || err != nil || last.Rows != 240 {
		t.Errorf("errors %v; verified %d rows, %v", failed, last.Rows, err)
	}
	if n := pgtest.One[int](w.sql, `SELECT count(*) FROM audit_sealed`); n != 240 {
		t.Errorf("%d rows are sealed, want 240", n)
	}
}

// A row whose transaction is still open is sealed when it has ended, in a later batch, though rows after it were sealed
// before.
func TestASealWaitsForOpenTransactions(t *testing.T) {
	w := newWorld(t)
	db := w.as("timekeeper")
	slow, err := w.sql.Begin(t.Context())
	if err == nil {
		_, err = slow.Exec(t.Context(), `INSERT INTO audit (actor, action, function) VALUES ('slow', 'b', 'f')`)
	}
	if err == nil {
		err = w.write(db, 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := w.seal(db, 10); n != 0 {
		t.Errorf("%d rows were sealed while an earlier one may still come", n)
	}
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	if n := w.seal(db, 10); n != 3 {
		t.Errorf("%d rows were sealed after it had come, want 3", n)
	}
}
