package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// recorded is what the calls themselves say, by the expression that names what they belong to.
const recorded = `
	SELECT concat_ws(' ', %s, count(*), sum(c.input_tokens), sum(c.cached_tokens), sum(c.output_tokens), sum(c.reasoning_tokens), sum(c.cost_microusd))
	FROM llm_calls c
	LEFT JOIN runs r ON r.id = c.run_id
	WHERE c.status <> 0 AND c.started_at >= '2031-02-27Z' AND c.started_at < '2031-05-04Z'%s
	GROUP BY %s
	ORDER BY sum(c.cost_microusd) DESC, count(*) DESC
`

// TestUsageIsExact: by whatever it is asked, the report is what the recorded calls come to, to the millionth of a
// dollar: calls of runs and of the platform, of each day of the days asked for, saved once or again.
func TestUsageIsExact(t *testing.T) {
	w := newWorld(t)
	w.sql.Do(`INSERT INTO projects (id, name) VALUES ('api', 'API')`)
	w.sql.Do(`UPDATE repositories SET name = 'Acme/Store'`)
	w.run(runA, "succeeded", 12)
	w.run(runB, "running", 13)
	w.sql.Do(`UPDATE runs SET project_id = 'api', role = 'qa' WHERE id = $1`, runB)
	db, r := w.as("llm-caller"), rand.New(rand.NewPCG(11, 1))
	for i := range 300 {
		c := store.ModelCall{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), RunID: []string{runA, runB, ""}[r.IntN(3)], Model: fmt.Sprintf("m%d", r.IntN(3)),
			Endpoint: "responses", Started: w.now().Add(-time.Duration(r.Int64N(int64(75 * 24 * time.Hour)))),
		}
		for range 1 + r.IntN(3) { // the last figures count
			if c.Status = 200 * r.IntN(4); c.Status != 0 {
				c.Input, c.Cached, c.Output, c.Reasoning, c.CostMicroUSD = r.Int64N(1e6), r.Int64N(1e5), r.Int64N(1e5), r.Int64N(1e4), r.Int64N(1e7)
			}
			if err := db.SaveCall(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if c.Status != 0 {
				break
			}
		}
	}
	q := store.UsageQuery{Since: time.Date(2031, 2, 27, 13, 0, 0, 0, time.UTC), Until: time.Date(2031, 5, 3, 1, 0, 0, 0, time.UTC)} // with two whole months
	for by, name := range map[string]string{
		"project": "coalesce(r.project_id, '')", "role": "coalesce(r.role, '')", "model": "c.model", "issue": "coalesce('Acme/Store#' || r.issue, '')",
	} {
		for projects, only := range map[string]string{"": "", "api": " AND r.project_id = 'api'"} {
			if q.By, q.Projects = by, nil; projects != "" {
				q.Projects = []string{projects}
			}
			rows, total, err := db.Usage(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(w.sql.Lines(fmt.Sprintf(recorded, name, only, name)), lines(rows)); diff != "" {
				t.Errorf("by %s of %q (-recorded +reported):\n%s", by, projects, diff)
			}
			if diff := cmp.Diff(w.sql.Lines(fmt.Sprintf(recorded, "''", only, "()")), lines([]store.Spending{total})); diff != "" {
				t.Errorf("by %s of %q in all (-recorded +reported):\n%s", by, projects, diff)
			}
		}
	}
}

func lines(rows []store.Spending) (out []string) {
	for _, s := range rows {
		out = append(out, fmt.Sprintf("%s %d %d %d %d %d %d", s.Name, s.Calls, s.Input, s.Cached, s.Output, s.Reasoning, s.MicroUSD))
	}
	return out
}

func TestUsageOfNothing(t *testing.T) {
	w := newWorld(t)
	db := w.as("doctor")
	rows, total, err := db.Usage(t.Context(), store.UsageQuery{By: "issue", Since: w.now(), Until: w.now(), Most: 3})
	if err != nil || len(rows) != 0 || total != (store.Spending{}) {
		t.Errorf("%+v, %+v, %v", rows, total, err)
	}
	if _, _, err := db.Usage(t.Context(), store.UsageQuery{By: "day"}); err == nil || !strings.Contains(err.Error(), "want one of project, role, model, issue") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkUsage reports a month, and a year, out of a year with ten million calls: forty projects with eight roles,
// 110,000 issues, each with a day or two of ninety calls. The calls themselves are not there, as no report reads them.
func BenchmarkUsage(b *testing.B) {
	url := pgtest.New(b)
	sql := pgtest.Open(b, url)
	sql.Do(past)
	sql.Do(`ANALYZE`)
	db, err := store.Open(context.Background(), "doctor", url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close(context.Background()) })
	end := time.Date(2031, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, by := range store.UsageKinds {
		for name, days := range map[string]int{"month": 30, "year": 365} {
			b.Run(by+"/"+name, func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					_, total, err := db.Usage(b.Context(), store.UsageQuery{By: by, Since: end.AddDate(0, 0, 1-days), Until: end, Most: 100})
					took = append(took, time.Since(began))
					if err != nil || total.Calls == 0 {
						b.Fatal(total, err)
					}
					if days == 365 && total.Calls < 9_900_000 {
						b.Fatalf("%d calls", total.Calls)
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			})
		}
	}
}

// past is a year of spending in days and months, as the trigger would have rolled it up.
const past = `
	INSERT INTO spending (kind, project_id, name, period, calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens, microusd, work_ms)
	SELECT k.kind, 'p' || n % 40, k.name, left(to_char(date '2031-01-01' + (n / 305)::int, 'YYYY-MM-DD'), k.length),
	       sum(90), sum(9000000), sum(8000000), sum(90000), sum(40000), sum(5000000 + n), sum(600000)
	FROM generate_series(0, 111111) n, LATERAL (VALUES
		('issue', 'acme/r' || n % 40 || '#' || n / 40, 10), ('role', 'role' || n / 40 % 8, 10), ('model', 'm' || n / 40 % 4, 10), ('project', 'p' || n % 40, 10),
		('role', 'role' || n / 40 % 8, 7), ('model', 'm' || n / 40 % 4, 7), ('project', 'p' || n % 40, 7)) k (kind, name, length)
	GROUP BY 1, 2, 3, 4
`
