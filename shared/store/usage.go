package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// UsageKinds are what Usage can report by.
var UsageKinds = []string{"project", "role", "model", "issue"}

// A UsageQuery is a question about what was spent.
type UsageQuery struct {
	By           string    // one of UsageKinds
	Since, Until time.Time // days of UTC, both are part of it
	Projects     []string  // these alone; nil = all, and the platform's own calls beside them
	Most         int       // rows at most, the dearest; 0 = all
}

// Spending is what was spent by one project, role, model or issue.
type Spending struct {
	// Name is the project's id, the role, the model, or the issue as owner/name#number by the repository's present name.
	// "" = the platform itself, whose calls belong to no project, role or issue.
	Name      string `json:"name"`
	Calls     int64  `json:"calls"`           // that have ended
	Input     int64  `json:"inputTokens"`     // all that was sent
	Cached    int64  `json:"cachedTokens"`    // the part of Input that the provider had in its cache
	Output    int64  `json:"outputTokens"`    // all that was generated
	Reasoning int64  `json:"reasoningTokens"` // the part of Output that was not shown
	MicroUSD  int64  `json:"microusd"`        // millionths of a dollar
	WorkMS    int64  `json:"workMs"`          // milliseconds that Jobs of runs were at work
}

// Usage is what was spent, the dearest first, and the total, in which also rows beyond query.Most count. A call belongs
// to the day on which it began, a Job's work to the day on which it ended. Calls under way are not in it.
//
// It reads one row for each whole month and each other day of what it reports by, for each day of issues (the index
// spending_by_period), and no call: those rows are kept with each call, in its transaction, so that both agree to the
// millionth of a dollar.
func (db *DB) Usage(ctx context.Context, q UsageQuery) (rows []Spending, total Spending, err error) {
	if !slices.Contains(UsageKinds, q.By) {
		return nil, total, fmt.Errorf("no usage by %q: want one of %s", q.By, strings.Join(UsageKinds, ", "))
	}
	found, err := db.pool.Query(ctx, `
		SELECT coalesce(nullif(b.name, '') || '#' || split_part(u.name, '#', 2), u.name, ''), u.calls, u.input, u.cached, u.output, u.reasoning, u.microusd, u.work_ms
		FROM (
			SELECT s.name, coalesce(sum(s.calls), 0)::bigint AS calls, coalesce(sum(s.input_tokens), 0)::bigint AS input,
			       coalesce(sum(s.cached_tokens), 0)::bigint AS cached, coalesce(sum(s.output_tokens), 0)::bigint AS output,
			       coalesce(sum(s.reasoning_tokens), 0)::bigint AS reasoning, coalesce(sum(s.microusd), 0)::bigint AS microusd,
			       coalesce(sum(s.work_ms), 0)::bigint AS work_ms, grouping(s.name) AS is_total
			FROM spending s
			WHERE s.kind = ANY($1::text[]) AND s.period = ANY($2::text[]) AND s.period <> '' AND s.period <> 'unmerged'
			  AND (s.kind = $1[1] OR s.project_id = '')
			  AND ($3::text[] IS NULL OR s.project_id = ANY($3))
			GROUP BY GROUPING SETS ((s.name), ())
			ORDER BY is_total DESC, microusd DESC, calls DESC, s.name
			LIMIT $4
		) u
		LEFT JOIN repositories b ON $1[1] = 'issue' AND b.full_name = split_part(u.name, '#', 1)
		ORDER BY u.is_total DESC, u.microusd DESC, u.calls DESC, u.name
	`, q.kinds(), q.periods(), q.Projects, q.limit())
	if err == nil {
		rows, err = pgx.CollectRows(found, pgx.RowToStructByPos[Spending])
	}
	if err != nil {
		return nil, total, fmt.Errorf("reading the usage by %s: %w", q.By, err)
	}
	return rows[1:], rows[0], nil
}

// kinds are the rows that make up the report. What the platform spends itself has a row of its project alone, "".
func (q UsageQuery) kinds() []string {
	if q.By == "role" || q.By == "issue" {
		return []string{q.By, "project"}
	}
	return []string{q.By}
}

// periods are those of the rows that make up the days asked for. Issues have no months: they seldom last for several.
func (q UsageQuery) periods() (all []string) {
	day, last := q.Since.UTC().Truncate(24*time.Hour), q.Until.UTC().Truncate(24*time.Hour)
	for !day.After(last) {
		if next := day.AddDate(0, 1, 0); day.Day() == 1 && q.By != "issue" && !next.AddDate(0, 0, -1).After(last) {
			all, day = append(all, day.Format("2006-01")), next
			continue
		}
		all, day = append(all, day.Format(time.DateOnly)), day.AddDate(0, 0, 1)
	}
	return all
}

// limit has room for the total, which comes first.
func (q UsageQuery) limit() *int {
	if q.Most == 0 {
		return nil
	}
	n := q.Most + 1
	return &n
}
