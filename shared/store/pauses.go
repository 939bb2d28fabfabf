package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// PauseGitHub keeps every instance from using the credential until then. A longer pause stays.
func (db *DB) PauseGitHub(ctx context.Context, credential string, until time.Time, reason string) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO github_pauses AS p (credential, until, reason)
		VALUES ($1, $2, $3)
		ON CONFLICT (credential) DO UPDATE
		SET until = excluded.until, reason = excluded.reason
		WHERE p.until < excluded.until
	`, credential, until, reason)
	if err != nil {
		return fmt.Errorf("recording the pause of %s: %w", credential, err)
	}
	return nil
}

// GitHubPause is until when the credential must not be used; zero when it may be.
func (db *DB) GitHubPause(ctx context.Context, credential string) (time.Time, error) {
	var until time.Time
	err := db.pool.QueryRow(ctx, `
		SELECT until
		FROM github_pauses
		WHERE credential = $1 AND until > $2
	`, credential, db.Now()).Scan(&until)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for a pause of %s: %w", credential, err)
	}
	return until, nil
}

// A Pause is until when a GitHub credential must not be used.
type Pause struct {
	Credential string    `json:"credential"`
	Until      time.Time `json:"until"`
	Reason     string    `json:"reason"`
}

// Pauses reads the pauses that are in force.
func (db *DB) Pauses(ctx context.Context) ([]Pause, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT credential, until, reason
		FROM github_pauses
		WHERE until > $1
		ORDER BY credential
	`, db.Now())
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's pauses: %w", err)
	}
	pauses, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Pause])
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's pauses: %w", err)
	}
	return pauses, nil
}

// ModelPause is until when a model is not to be asked, if that is later than now, and how often in a row its provider
// has limited it.
func (db *DB) ModelPause(ctx context.Context, model string) (until time.Time, reason string, tries int, err error) {
	err = optional(db.pool.QueryRow(ctx, `
		SELECT until, reason, tries
		FROM model_pauses
		WHERE model = $1
	`, model).Scan(&until, &reason, &tries))
	if err != nil {
		return until, "", 0, fmt.Errorf("looking for a pause of model %s: %w", model, err)
	}
	return until.UTC(), reason, tries, nil
}

// LimitRun stores that the provider of a model does not answer before some time, and the event that says so to a run.
// No run of the model is to start before, unless another one stands in. It returns the events to send.
func (db *DB) LimitRun(ctx context.Context, l events.LLMLimited, tries int) ([]event.Event, error) {
	cause := Cause{events.Source(db.function) + "/limit", fmt.Sprintf("%s %d %s %s", l.RunID, l.Attempt, l.Until.UTC().Format(time.RFC3339Nano), l.Fallback)}
	return db.Emit(ctx, cause, l.Correlation(), func(ctx context.Context, tx *Tx) (events.Decision, error) {
		data, err := json.Marshal(l)
		if err != nil {
			return events.Decision{}, fmt.Errorf("encoding the limit of run %s: %w", l.RunID, err)
		}
		var b pgx.Batch
		b.Queue(`
			INSERT INTO model_pauses AS p (model, until, reason, tries)
			VALUES ($1, $2, $3, $4)
			ON CONFLICT (model) DO UPDATE
			SET until = greatest(p.until, excluded.until), reason = excluded.reason, tries = excluded.tries
		`, l.Model, l.Until, l.Reason, tries)
		b.Queue(`
			UPDATE runs
			SET limited = $2
			WHERE id = $1
		`, l.RunID, data)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return events.Decision{}, fmt.Errorf("storing the limit of run %s: %w", l.RunID, err)
		}
		return events.Decision{Emit: []events.Draft{events.Now(l)}}, nil
	})
}

// Answers ends the count of a model's limits: its provider answers.
func (db *DB) Answers(ctx context.Context, model string) error {
	_, err := db.pool.Exec(ctx, `
		DELETE FROM model_pauses
		WHERE model = $1
	`, model)
	if err != nil {
		return fmt.Errorf("ending the pause of model %s: %w", model, err)
	}
	return nil
}
