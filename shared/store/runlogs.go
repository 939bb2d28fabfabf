package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/plain"
)

// A LogLine is one line of a run's log. Lines are numbered from 1 by the run itself.
type LogLine struct {
	Seq    int64
	At     time.Time
	Stream string // "agent" or "runner"
	Text   string `db:"line"`
}

// Bounds of a run's log, because the agent is not trusted to stop: about 500 MB at most.
const (
	MaxLogLines  = 200_000 // later ones are dropped
	longLogLines = 20_000  // later ones are cut
	shortLine    = 1 << 10 // bytes, to which they are cut
)

// AppendLogs stores lines; a number that is already stored is left as it is, so the call may be repeated. It returns
// one more than the highest stored number, which is where a restarted agent continues.
func (db *DB) AppendLogs(ctx context.Context, runID string, lines []LogLine) (next int64, err error) {
	seqs, ats := make([]int64, 0, len(lines)), make([]time.Time, 0, len(lines))
	streams, texts := make([]string, 0, len(lines)), make([]string, 0, len(lines))
	for _, l := range lines {
		switch {
		case l.Seq > MaxLogLines:
			continue
		case l.Seq == MaxLogLines:
			l.Text = "The log is full: what comes after this line is not kept."
		case l.Seq > longLogLines:
			l.Text = plain.Cut(l.Text, shortLine)
		}
		seqs, ats, streams, texts = append(seqs, l.Seq), append(ats, l.At), append(streams, l.Stream), append(texts, l.Text)
	}
	var b pgx.Batch
	if len(seqs) > 0 {
		b.Queue(`
			INSERT INTO run_logs (run_id, seq, at, stream, line)
			SELECT $1, l.*
			FROM unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[]) AS l
			ON CONFLICT DO NOTHING
		`, runID, seqs, ats, streams, texts)
	}
	b.Queue(`
		SELECT coalesce(max(seq), 0) + 1
		FROM run_logs
		WHERE run_id = $1
	`, runID).QueryRow(func(row pgx.Row) error { return row.Scan(&next) })
	if err := db.pool.SendBatch(ctx, &b).Close(); err != nil {
		return 0, fmt.Errorf("storing %d log lines of run %s: %w", len(seqs), runID, err)
	}
	return next, nil
}

// Logs reads up to limit lines of a run's log, beginning with number from.
func (db *DB) Logs(ctx context.Context, runID string, from int64, limit int) ([]LogLine, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT seq, at, stream, line
		FROM run_logs
		WHERE run_id = $1 AND seq >= $2
		ORDER BY seq
		LIMIT $3
	`, uuidOrNull(runID), from, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the log of run %s: %w", runID, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByName[LogLine])
	if err != nil {
		return nil, fmt.Errorf("reading the log of run %s: %w", runID, err)
	}
	return lines, nil
}

// SearchLog reads up to limit lines that contain the text, whatever its case, beginning with number from. It looks at
// no more than within lines.
func (db *DB) SearchLog(ctx context.Context, runID, text string, from, within int64, limit int) ([]LogLine, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT seq, at, stream, line
		FROM run_logs
		WHERE run_id = $1 AND seq >= $2 AND seq < $2 + $3::bigint AND position(lower($4) IN lower(line)) > 0
		ORDER BY seq
		LIMIT $5
	`, uuidOrNull(runID), from, within, text, limit)
	if err != nil {
		return nil, fmt.Errorf("searching the log of run %s: %w", runID, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByName[LogLine])
	if err != nil {
		return nil, fmt.Errorf("searching the log of run %s: %w", runID, err)
	}
	return lines, nil
}

// LastLine is the number of the last line of a run's log; 0 = there is none.
func (db *DB) LastLine(ctx context.Context, runID string) (last int64, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT coalesce(max(seq), 0)
		FROM run_logs
		WHERE run_id = $1
	`, uuidOrNull(runID)).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("looking for the end of the log of run %s: %w", runID, err)
	}
	return last, nil
}
