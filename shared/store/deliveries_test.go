package store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// instances opens a new database n times over, as n processes would.
func instances(t *testing.T, n int) ([]*store.DB, *pgtest.DB) {
	t.Helper()
	url := pgtest.New(t)
	dbs := make([]*store.DB, n)
	for i := range dbs {
		db, err := store.Open(t.Context(), "webhook-adapter", url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close(context.Background()) })
		dbs[i] = db
	}
	return dbs, pgtest.Open(t, url)
}

func arrived(id, typ, data string, delivery bool) store.Arrival {
	e := event.New()
	e.SetID(id)
	e.SetType(typ)
	e.SetSource("https://github.com/acme/api")
	e.SetTime(time.Now())
	if err := e.SetData(event.ApplicationJSON, []byte(data)); err != nil {
		panic(err)
	}
	a := store.Arrival{Event: e, Actor: "test"}
	if delivery {
		a.GitHub = &store.GitHubDelivery{Event: "issues", Repository: "acme/api"}
	}
	return a
}

var issues = events.GitHubType("issues")

func TestReceiveTellsWhatBecameOfEach(t *testing.T) {
	dbs, sql := instances(t, 1)
	db := dbs[0]
	receive := func(as ...store.Arrival) []string {
		t.Helper()
		outcomes, err := db.Receive(t.Context(), as)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, o := range outcomes {
			out = append(out, o.String())
		}
		return out
	}
	got := receive(
		arrived("1", issues, `{}`, true),
		arrived("2", "nobody.hears", `{}`, true),
		arrived("1", issues, `{}`, true),
		arrived("1", issues, `{"other":1}`, true),
		arrived("1", issues, `{"other":1}`, false), // same source and id, not as a delivery
		arrived("5", issues, `{}`, false),
	)
	// The fifth is not compared with the delivery's payload but with the stored event's.
	if diff := cmp.Diff([]string{"accepted", "ignored", "duplicate", "reused", "reused", "accepted"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"duplicate", "duplicate"}, receive(arrived("5", issues, `{}`, false), arrived("2", "nobody.hears", `{}`, true))); diff != "" {
		t.Error(diff)
	}
	if len(receive()) != 0 {
		t.Error("outcomes of nothing")
	}
	if n := pgtest.One[int](sql, `SELECT count(*) FROM pending WHERE function = 'stage-router'`); n != 2 {
		t.Errorf("%d receipts are owed, want 2", n)
	}
	if n := pgtest.One[int](sql, `SELECT count(*) FROM audit WHERE reason = 'id_reused'`); n != 2 {
		t.Errorf("%d audit rows, want 2", n)
	}
}

// GitHubSource may have brought the event to a consumer before the hook's own delivery comes: then nobody owes a
// receipt.
func TestReceiveOfWhatWasHandledAlready(t *testing.T) {
	dbs, sql := instances(t, 1)
	db := dbs[0]
	if _, err := sql.Exec(t.Context(), `
		INSERT INTO inbox (function, source, id) VALUES ('stage-router', 'https://github.com/acme/api', '1')
	`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Receive(t.Context(), []store.Arrival{arrived("1", issues, `{}`, true)}); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int](sql, `SELECT count(*) FROM pending`); n != 0 {
		t.Errorf("%d receipts are owed, want none", n)
	}
}

// Many instances get the same deliveries at once, each in an order of its own: each is accepted once, none deadlocks.
func TestReceiveByManyInstancesAtOnce(t *testing.T) {
	dbs, sql := instances(t, 6)
	const deliveries = 60
	var mu sync.Mutex
	accepted := map[string]int{}
	var wg sync.WaitGroup
	for i, db := range dbs {
		wg.Go(func() {
			for round := range 5 {
				var as []store.Arrival
				for n := range deliveries {
					as = append(as, arrived(fmt.Sprintf("%d-%d", round, (n*7+i*11)%deliveries), issues, `{}`, n%2 == 0 == (i%2 == 0)))
				}
				outcomes, err := db.Receive(t.Context(), as)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for n, o := range outcomes {
					if o == store.Accepted {
						accepted[fmt.Sprint(as[n].Event.ID(), as[n].GitHub != nil)]++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if n := slices.Max(slices.Collect(maps.Values(accepted))); n != 1 {
		t.Errorf("one was accepted %d times", n)
	}
	if n := pgtest.One[int](sql, `SELECT count(*) FROM events`); n != 5*deliveries {
		t.Errorf("%d events are stored, want %d", n, 5*deliveries)
	}
	if n := pgtest.One[int](sql, `SELECT count(*) FROM pending`); n != 5*deliveries {
		t.Errorf("%d receipts are owed, want %d", n, 5*deliveries)
	}
}

func TestALongerPauseStays(t *testing.T) {
	dbs, _ := instances(t, 1)
	db := dbs[0]
	pause := func(d time.Duration) time.Time {
		t.Helper()
		if err := db.PauseGitHub(t.Context(), "installation:1", time.Now().Add(d), "test"); err != nil {
			t.Fatal(err)
		}
		until, err := db.GitHubPause(t.Context(), "installation:1")
		if err != nil {
			t.Fatal(err)
		}
		return until
	}
	if until := pause(-time.Hour); !until.IsZero() {
		t.Errorf("a pause that is over counts: %s", until)
	}
	for _, d := range []time.Duration{time.Minute, time.Hour, time.Minute} {
		pause(d)
	}
	if until := pause(time.Second); time.Until(until) < 59*time.Minute {
		t.Errorf("paused until %s, want the longest", until)
	}
	if other, err := db.GitHubPause(t.Context(), "installation:2"); err != nil || !other.IsZero() {
		t.Errorf("another credential is paused: %s, %v", other, err)
	}
}

// TestPayloadsAreCompressedFast holds that a large payload is packed with lz4, which costs a third of pglz, wherever
// Postgres has it.
func TestPayloadsAreCompressedFast(t *testing.T) {
	sql := pgtest.Open(t, pgtest.New(t))
	var offered bool
	if err := sql.QueryRow(t.Context(), `SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'`).Scan(&offered); err != nil {
		t.Fatal(err)
	}
	want := map[bool]string{true: "lz4", false: "pglz"}[offered]
	if _, err := sql.Exec(t.Context(), `
		INSERT INTO events (source, id, type, time, data)
		VALUES ('/x', '1', 'x', now(), convert_to(repeat('{"number": 7}', 1000), 'UTF8'))
	`); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := sql.QueryRow(t.Context(), `SELECT pg_column_compression(data) FROM events`).Scan(&got); err != nil || got != want {
		t.Errorf("packed with %q, %v, want %s", got, err, want)
	}
}

// TestAnOrdinaryPayloadStaysWithItsRow holds that what is left of an issue's payload when it is packed, some 3 KB, is
// not cut into rows of another table with another index.
func TestAnOrdinaryPayloadStaysWithItsRow(t *testing.T) {
	dbs, sql := instances(t, 1)
	payload := `"`
	for len(payload) < 3500 {
		payload += rand.Text() // which nothing makes smaller
	}
	if _, err := dbs[0].Receive(t.Context(), []store.Arrival{arrived("1", issues, payload+`"`, true)}); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int](sql, `SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'events'::regclass`); n != 0 {
		t.Errorf("%d bytes are in the table for large values, want none", n)
	}
}
