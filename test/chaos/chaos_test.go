// Package chaos is the kill test. A burst of labelled issues goes through the real binaries, the real manifests and a
// real Postgres (package stack) while everything that may die dies again and again:
//
//	functions   SIGKILL, one after the other, each as soon as it has a request in hand
//	agents      SIGKILL, at most twice a run: a Job allows two retries
//	broker      forgets what it holds, loses what it accepted, refuses
//	Kubernetes  its API answers nothing for a moment
//	Postgres    crashes once in the middle of the burst, and the way in dies with it
//
// In the end every issue has one run that succeeded, one pull request with one commit, one status comment that says so,
// and the right labels; no event is pending, no dead letter exists, and the audit's seals fit. What GitHub could not
// deliver it never delivers again: that those issues are served, too, is timekeeper's work.
//
// Who waits for a lost event waits minutes: a minute until an event without a receipt is sent again, five between two
// comparisons with GitHub. The test does not wait. It moves what is stored into the past (see pass) and dates the
// fake GitHub a minute back, so that what it could not deliver counts as lost at once. The functions are not changed.
//
//	go test ./test/chaos -v -issues 500            the numbers
//	go test ./test/chaos -v -issues 30 -seed 42    the random choices of an earlier test again
//
// The seed repeats what is chosen, not how the machine interleaves it.
package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/stack"
)

var (
	issues = flag.Int("issues", 30, "how many issues are labelled in the burst")
	seed   = flag.Uint64("seed", 0, "repeats the random choices of an earlier test; 0 = others each time")
)

// patience is how long nothing may get on before the test gives up.
const patience = 2 * time.Minute

func TestNothingIsLostOrDoneTwiceWhateverDies(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("%d issues, -seed %d", *issues, *seed)
	slog.SetDefault(slog.New(slog.DiscardHandler)) // that a request broke is no news here
	w := start(t, *issues, *seed)
	began := time.Now()

	ctx, calm := context.WithCancel(t.Context())
	defer calm()
	w.unleash(ctx)
	w.label(ctx)
	w.awaitRuns()
	burst := time.Since(began)
	calm()
	w.chaos.Wait()

	w.settle()
	settled := time.Since(began)
	w.everyWebhookIsKnown()
	w.drainTimers()
	w.verifyAudit()
	w.noDeadLetters()
	w.stats.everyFunctionDiedAtWork(t)
	t.Logf("all runs ended after %s, all issues were as they should be after %s, all timers done after %s",
		round(burst), round(settled), round(time.Since(began)))
	t.Log(w.report())
}

// label sets the trigger label on all issues, some fifty a second; in the middle of that Postgres crashes.
func (w *world) label(ctx context.Context) {
	w.t.Helper()
	r := w.random(6)
	for i, issue := range w.issues {
		if i == len(w.issues)/2 {
			w.chaos.Go(func() { w.crashPostgres(ctx) })
		}
		if err := w.stack.GitHub.AddLabel(stack.Repository, issue, stack.LabelDev, stack.Owner); err != nil {
			w.t.Fatal(err)
		}
		sleep(ctx, between(r, 0, 40*time.Millisecond))
	}
}

// awaitRuns returns when every issue has had a run that is over.
func (w *world) awaitRuns() {
	w.t.Helper()
	last, since := -1, time.Now()
	for {
		over := 0
		err := w.db.QueryRow(w.t.Context(), `SELECT count(DISTINCT issue) FROM runs WHERE finished_at IS NOT NULL`).Scan(&over)
		switch {
		case err == nil && over == len(w.issues):
			return
		case err == nil && over > last: // an error is the crash of Postgres
			last, since = over, time.Now()
		case time.Since(since) > patience:
			w.explain(w.problems())
			w.t.Fatalf("no run ended for %s, %d of %d have", patience, last, len(w.issues))
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// settle lets time pass, with nothing dying but timekeeper's memory, until all issues are as they should be.
func (w *world) settle() {
	w.t.Helper()
	fewest, since := len(w.issues)+1, time.Now()
	for {
		problems := w.problems()
		if len(problems) == 0 {
			return
		}
		if len(problems) < fewest {
			fewest, since = len(problems), time.Now()
		}
		if time.Since(since) > patience {
			w.explain(problems)
			w.t.Fatalf("%d of %d issues are not as they should be", len(problems), len(w.issues))
		}
		w.compareWithGitHub()
	}
}

// compareWithGitHub lets six minutes pass: then timekeeper sends what is outstanding and asks GitHub. When it asked
// last it also keeps in its process, so that must go.
func (w *world) compareWithGitHub() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if err := w.pass(ctx, 6*time.Minute); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.stack.Platform.Kill("timekeeper"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.stack.Platform.Tick(ctx); err != nil {
		w.t.Fatal(err)
	}
	// What is not delivered by then is seen in the next round.
	ctx, cancel = context.WithTimeout(w.t.Context(), 3*time.Second)
	defer cancel()
	_ = w.stack.Platform.Broker().Idle(ctx)
}

// drainTimers lets the timers of the runs come due: deadlines and checks must find nothing to do. The removal of a
// namespace stays, as its day is written on the namespace.
func (w *world) drainTimers() {
	w.t.Helper()
	w.passTimers(w.t.Context(), 2*time.Hour)
	w.eventually("nothing is pending", func(ctx context.Context) error {
		if err := w.stack.Platform.Tick(ctx); err != nil {
			return err
		}
		rows, err := w.db.Query(ctx, `
			SELECT p.function, e.type, e.correlation, p.attempts
			FROM pending p JOIN events e USING (source, id)
			WHERE e.type <> 'dev.codexk8s.environment.expired' OR e.not_before <= now()
			ORDER BY e.stored_at
		`)
		if err != nil {
			return err
		}
		left, err := texts(rows)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("pending:\n%s", strings.Join(left, "\n"))
		}
		return err
	})
	if problems := w.problems(); len(problems) > 0 {
		w.explain(problems)
		w.t.Errorf("after the timers %d issues are not as they should be", len(problems))
	}
}

// verifyAudit waits until all of the audit is sealed, and computes the seals again.
func (w *world) verifyAudit() {
	w.t.Helper()
	w.eventually("the audit is sealed", func(ctx context.Context) error {
		if err := w.stack.Platform.Tick(ctx); err != nil {
			return err
		}
		sealed, err := w.store.VerifyAudit(ctx)
		if err != nil {
			return err
		}
		var rows int
		if err := w.db.QueryRow(ctx, `SELECT count(*) FROM audit`).Scan(&rows); err != nil {
			return err
		}
		if w.stats.audit = rows; rows == 0 || sealed.Rows != rows {
			return fmt.Errorf("%d of %d rows of the audit are sealed", sealed.Rows, rows)
		}
		return nil
	})
}

// everyWebhookIsKnown: what GitHub could not deliver is fetched, as far as a function hears of its kind. The last of
// them may be lost after the last comparison, on issues that are already as they should be. What webhook-adapter
// accepted is known without one: that is what its answer says.
func (w *world) everyWebhookIsKnown() {
	w.t.Helper()
	var heard map[string]bool // by GUID: whether webhook-adapter accepted it
	w.eventually("every webhook is known", func(ctx context.Context) error {
		heard = map[string]bool{}
		for _, d := range w.stack.GitHub.Deliveries() {
			if len(events.Consumers(events.GitHubType(d.Event))) > 0 {
				heard[d.GUID] = heard[d.GUID] || d.OK()
			}
		}
		missing, err := w.store.MissingDeliveries(ctx, slices.Collect(maps.Keys(heard)))
		if err != nil || len(missing) == 0 {
			return err
		}
		for _, guid := range missing {
			if heard[guid] {
				w.t.Fatalf("webhook %s is not known, though webhook-adapter accepted it", guid)
			}
		}
		w.compareWithGitHub()
		return fmt.Errorf("not known: %s", strings.Join(missing, ", "))
	})
	for guid, delivered := range heard {
		if !delivered {
			w.stats.healed = append(w.stats.healed, guid)
		}
	}
}

func (w *world) noDeadLetters() {
	w.t.Helper()
	letters, err := w.store.DeadLetters(w.t.Context(), 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range letters {
		w.t.Errorf("dead letter at %s: %s %s (%d): %s\n%s", l.Function, l.Type, l.ID, l.Code, l.Error, l.Envelope)
	}
}

// eventually asks until there is no error.
func (w *world) eventually(what string, ask func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeoutCause(w.t.Context(), patience, errors.New("it never happened"))
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: %v: %v", what, context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
