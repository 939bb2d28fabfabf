package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
)

// queueAudit appends one line to the audit. It is never changed.
func queueAudit(b *pgx.Batch, at time.Time, function string, cause event.Event, workItem string, r events.Record) {
	var run any
	if r.Run != "" {
		run = r.Run
	}
	b.Queue(`
		INSERT INTO audit (at, actor, action, work_item, run_id, reason, detail, function, event_source, event_id, process)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
	`, at, plain.Text(r.Actor), r.Action, workItem, run, r.Reason, plain.Text(r.Detail), function, cause.Source(), cause.ID(), r.Process)
}

// auditRow is a row of the audit as its seal covers it. The order of the fields is part of every hash: never change it.
// The process is not covered: the release before, which may still run or come back, verifies the chain without it.
type auditRow struct {
	Seq         int64     `json:"seq"`
	At          time.Time `json:"at"`
	Actor       string    `json:"actor"`
	Action      string    `json:"action"`
	WorkItem    string    `json:"workItem"`
	Run         string    `json:"run"`
	Reason      string    `json:"reason"`
	Detail      string    `json:"detail"`
	Function    string    `json:"function"`
	EventSource string    `json:"eventSource"`
	EventID     string    `json:"eventId"`
}

const auditColumns = `a.seq, a.at, a.actor, a.action, a.work_item, coalesce(a.run_id::text, ''), a.reason, a.detail,
	a.function, a.event_source, a.event_id`

// sealOf is SHA-256 over the hash before and, per row, one line of JSON.
func sealOf(previous []byte, rows []auditRow) ([]byte, error) {
	h := sha256.New()
	h.Write(previous)
	for _, r := range rows {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		h.Write(line)
	}
	return h.Sum(nil), nil
}

// line is the row as its seal covers it.
func (r auditRow) line() ([]byte, error) {
	r.At = r.At.UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding audit row %d: %w", r.Seq, err)
	}
	return append(line, '\n'), nil
}

// longestTx is longer than any transaction of ours: Knative ends a request after five minutes at most.
const longestTx = 15 * time.Minute

// A Seal is a link of the chain. Somebody with the database's password can cut off the newest links together with their
// rows, and what is left is a valid chain. So each new link is logged outside the database, to be compared.
type Seal struct {
	Batch int64 // counts the links from 1; 0 = there is none
	Rows  int
	Hash  []byte
}

// SealAudit adds one link to the chain: a hash over up to limit unsealed rows and the hash before. It returns the link,
// without rows if there was nothing to seal. Rows of transactions that may not have ended wait, because a row with a
// lower seq could still appear.
//
// Rows below a seal are not looked at again once another seal has come longestTx later: every seq up to there was given
// out before the first seal, so its transaction had ended by the second, which took what was left.
func (db *DB) SealAudit(ctx context.Context, limit int) (added Seal, err error) {
	err = db.inTx(ctx, func(tx *Tx) error {
		// The lock is a statement of its own, so that the next one sees what the last holder committed.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('audit-seal', 0))`); err != nil {
			return fmt.Errorf("waiting for another seal: %w", err)
		}
		rows, err := tx.Query(ctx, `
			SELECT `+auditColumns+`
			FROM audit a
			-- LATERAL with a LIMIT: one look into the index per row, where an anti-join would read all that is sealed.
			LEFT JOIN LATERAL (SELECT s.seq FROM audit_sealed s WHERE s.seq = a.seq LIMIT 1) AS sealed ON true
			WHERE a.seq > coalesce((
			          SELECT s.seqs[cardinality(s.seqs)]
			          FROM audit_seals s
			          WHERE s.sealed_at < (SELECT sealed_at FROM audit_seals ORDER BY batch DESC LIMIT 1) - $2::interval
			          ORDER BY s.batch DESC
			          LIMIT 1
			      ), 0)
			  AND sealed.seq IS NULL
			  -- What we see and is not of a past transaction came with a dump out of another cluster.
			  AND (a.tx < pg_snapshot_xmin(pg_current_snapshot()) OR a.tx >= pg_snapshot_xmax(pg_current_snapshot()))
			ORDER BY a.seq
			LIMIT $1
		`, limit, longestTx)
		if err != nil {
			return fmt.Errorf("reading the audit: %w", err)
		}
		batch, err := pgx.CollectRows(rows, pgx.RowToStructByPos[auditRow])
		if err != nil {
			return fmt.Errorf("reading the audit: %w", err)
		}
		if len(batch) == 0 {
			return nil
		}
		added, err = tx.seal(ctx, batch)
		return err
	})
	return added, err
}

func (tx *Tx) seal(ctx context.Context, batch []auditRow) (Seal, error) {
	var previous []byte
	if err := tx.QueryRow(ctx, `
		SELECT coalesce((SELECT hash FROM audit_seals ORDER BY batch DESC LIMIT 1), '')
	`).Scan(&previous); err != nil {
		return Seal{}, fmt.Errorf("reading the last seal: %w", err)
	}
	hash, err := sealOf(previous, batch)
	if err != nil {
		return Seal{}, err
	}
	added := Seal{Rows: len(batch), Hash: hash}
	seqs := make([]int64, len(batch))
	for i, r := range batch {
		seqs[i] = r.Seq
	}
	if err := tx.QueryRow(ctx, `
		WITH seal AS (
			INSERT INTO audit_seals (rows, seqs, previous, hash, sealed_at)
			VALUES (cardinality($1::bigint[]), $1, $2, $3, $4)
			RETURNING batch
		), sealed AS (
			INSERT INTO audit_sealed (seq, batch)
			SELECT seq, batch
			FROM seal, unnest($1::bigint[]) AS seq
		)
		SELECT batch
		FROM seal
	`, seqs, notNil(previous), hash, tx.now).Scan(&added.Batch); err != nil {
		return Seal{}, fmt.Errorf("sealing %d rows of the audit: %w", len(batch), err)
	}
	return added, nil
}

// ErrAuditChanged says that rows of the audit differ from what was sealed.
var ErrAuditChanged = errors.New("the audit was changed")

// A link is a seal with what it covers.
type link struct {
	Batch          int64
	Rows           int
	Seqs           []int64
	Previous, Hash []byte
}

// sealed reads the first seal after a batch with its rows; the zero link if there is none.
func (db *DB) sealed(ctx context.Context, after int64) (l link, rows []auditRow, err error) {
	found, err := db.pool.Query(ctx, `
		SELECT batch, rows, seqs, previous, hash
		FROM audit_seals
		WHERE batch > $1
		ORDER BY batch
		LIMIT 1
	`, after)
	if err == nil {
		l, err = pgx.CollectExactlyOneRow(found, pgx.RowToStructByPos[link])
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return link{}, nil, nil
	}
	if err != nil {
		return l, nil, fmt.Errorf("reading the seals: %w", err)
	}
	covered, err := db.pool.Query(ctx, `
		SELECT `+auditColumns+`
		FROM audit a
		WHERE a.seq = ANY ($1::bigint[])
		ORDER BY a.seq
	`, l.Seqs)
	if err == nil {
		rows, err = pgx.CollectRows(covered, pgx.RowToStructByPos[auditRow])
	}
	if err != nil {
		return l, nil, fmt.Errorf("reading the audit: %w", err)
	}
	return l, rows, nil
}

// VerifyAudit recomputes the chain of seals. It returns the last valid link with the number of all rows up to it, and
// an error that names the first batch whose rows differ from what was sealed.
func (db *DB) VerifyAudit(ctx context.Context) (last Seal, err error) {
	for {
		l, batch, err := db.sealed(ctx, last.Batch)
		if err != nil || l.Batch == 0 {
			return last, err
		}
		want, err := sealOf(last.Hash, batch)
		if err != nil {
			return last, err
		}
		if len(batch) != l.Rows || !bytes.Equal(last.Hash, l.Previous) || !bytes.Equal(want, l.Hash) {
			return last, fmt.Errorf("%w: batch %d has %d rows of %d, or other ones than were sealed", ErrAuditChanged, l.Batch, len(batch), l.Rows)
		}
		last = Seal{l.Batch, last.Rows + len(batch), l.Hash}
	}
}

// An ExportedSeal is the line of an export that closes the rows of a seal.
type ExportedSeal struct {
	Seal     int64  `json:"seal"` // its number
	Rows     int    `json:"rows"`
	Previous string `json:"previous"` // hash of the seal before, hexadecimal; "" = this is the first
	Hash     string `json:"hash"`     // SHA-256 over the bytes of Previous and the lines of the rows, each with its line end
}

// ExportAudit writes the sealed part of the audit: after the lines of a seal's rows, byte for byte as they were sealed,
// the seal's own. It looks at nothing, so that whoever reads it finds what is wrong. It holds one seal in memory.
func (db *DB) ExportAudit(ctx context.Context, w io.Writer) error {
	out := json.NewEncoder(w)
	var last int64
	for {
		l, rows, err := db.sealed(ctx, last)
		if err != nil || l.Batch == 0 {
			return err
		}
		for _, r := range rows {
			line, err := r.line()
			if err != nil {
				return err
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		if err := out.Encode(ExportedSeal{l.Batch, l.Rows, hex.EncodeToString(l.Previous), hex.EncodeToString(l.Hash)}); err != nil {
			return err
		}
		last = l.Batch
	}
}

// Unsealed is the part of the audit that no seal covers yet.
type Unsealed struct {
	Rows  int       `json:"rows"`
	Since time.Time `json:"since,omitzero"` // of the oldest such row
}

// UnsealedAudit measures what no seal covers yet. It reads the whole audit.
func (db *DB) UnsealedAudit(ctx context.Context) (Unsealed, error) {
	var u Unsealed
	err := db.pool.QueryRow(ctx, `
		SELECT count(*), min(a.at)
		FROM audit a
		WHERE NOT EXISTS (SELECT 1 FROM audit_sealed s WHERE s.seq = a.seq)
	`).Scan(&u.Rows, zero(&u.Since))
	if err != nil {
		return u, fmt.Errorf("reading the unsealed audit: %w", err)
	}
	return u, nil
}
