package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
)

// A Token is what a program uses the console's API by, as the person who made it.
type Token struct {
	ID       string
	Name     string // of the person's tokens, one has it
	Scopes   []access.Scope
	Projects []string // in which it is good; none = in all
	Made     time.Time
	Expires  time.Time
	Used     time.Time // to the hour; zero = never
}

// ErrNameTaken says that another token of the person has the name.
var ErrNameTaken = errors.New("another token has this name")

// mostTokens is how many a person may have.
const mostTokens = 100

// MakeToken keeps a token under its hash for its owner, audited. Those of the owner that have expired go. ErrNameTaken
// if another one has its name, or the owner has too many.
func (db *DB) MakeToken(ctx context.Context, owner Account, hash []byte, t Token) (Token, error) {
	t.ID, t.Name, t.Made = uuid.NewString(), plain.Text(t.Name), db.Now()
	err := db.inTx(ctx, func(tx *Tx) error {
		var b pgx.Batch
		b.Queue(`
			DELETE FROM console_tokens
			WHERE github_id = $1 AND expires_at < $2
		`, owner.ID, tx.now)
		b.Queue(`
			INSERT INTO console_tokens (id, hash, github_id, login, name, scopes, projects, made_at, expires_at)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
			WHERE (SELECT count(*) FROM console_tokens WHERE github_id = $3) < $10
			ON CONFLICT ON CONSTRAINT console_tokens_name DO NOTHING
		`, t.ID, hash, owner.ID, owner.Login, t.Name, t.Scopes, noNil(t.Projects), t.Made, t.Expires, mostTokens).Exec(func(ct pgconnTag) error {
			if ct.RowsAffected() == 0 {
				return ErrNameTaken
			}
			return nil
		})
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		return tx.auditToken(ctx, owner, "token.made", fmt.Sprintf("%s %q for %v in %v until %s", t.ID, t.Name, t.Scopes, t.Projects, t.Expires.UTC().Format(time.DateOnly)))
	})
	if err != nil {
		return Token{}, fmt.Errorf("making a token: %w", err)
	}
	return t, nil
}

func (tx *Tx) auditToken(ctx context.Context, owner Account, action, detail string) error {
	_, err := tx.record(ctx, Cause{}.event(), "", events.Decision{Audit: []events.Record{{Actor: "github:" + owner.Login, Action: action, Detail: detail}}})
	return err
}

// Tokens are those of a person that have not expired, the newest first.
func (db *DB) Tokens(ctx context.Context, owner int64) ([]Token, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id::text, name, scopes, projects, made_at, expires_at, used_at
		FROM console_tokens
		WHERE github_id = $1 AND expires_at > $2
		ORDER BY made_at DESC, id
	`, owner, db.Now())
	if err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Token, err error) {
		err = row.Scan(&t.ID, &t.Name, &t.Scopes, &t.Projects, zero(&t.Made), zero(&t.Expires), zero(&t.Used))
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	return all, nil
}

// RevokeToken ends a token of a person's, audited. ErrNotFound if it is none of theirs.
func (db *DB) RevokeToken(ctx context.Context, owner Account, id string) error {
	if uuid.Validate(id) != nil {
		return ErrNotFound
	}
	return db.inTx(ctx, func(tx *Tx) error {
		var name string
		err := tx.QueryRow(ctx, `
			DELETE FROM console_tokens
			WHERE id = $1 AND github_id = $2
			RETURNING name
		`, id, owner.ID).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("revoking a token: %w", err)
		}
		return tx.auditToken(ctx, owner, "token.revoked", fmt.Sprintf("%s %q", id, name))
	})
}

// Bearer is who made the token with that hash, with the rights that they have now in the projects of the token, and its
// scopes. ErrNotFound if there is none, its time is up, or the person has no role there any more.
func (db *DB) Bearer(ctx context.Context, hash []byte) (Visitor, error) {
	v := Visitor{Standing: access.Standing{}}
	rows, err := db.pool.Query(ctx, `
		WITH used AS (
			UPDATE console_tokens
			SET used_at = $2
			WHERE hash = $1 AND expires_at > $2 AND (used_at IS NULL OR used_at < $2 - interval '1 hour')
		)
		SELECT t.github_id, t.login, t.expires_at, t.scopes, p.project, m.role
		FROM console_tokens t
		JOIN members m USING (github_id)
		-- Who has a role everywhere has it in the token's projects.
		CROSS JOIN LATERAL unnest(CASE WHEN t.projects = '{}' THEN ARRAY[m.project_id] ELSE t.projects END) AS p (project)
		WHERE t.hash = $1 AND t.expires_at > $2 AND m.project_id IN (p.project, $3)
	`, hash, db.Now(), access.Everywhere)
	if err != nil {
		return v, fmt.Errorf("looking for a token: %w", err)
	}
	var project string
	var role access.Role
	if _, err := pgx.ForEachRow(rows, []any{&v.Account.ID, &v.Account.Login, zero(&v.Expires), &v.Scopes, &project, &role}, func() error {
		if !v.Standing[project].AtLeast(role) {
			v.Standing[project] = role
		}
		return nil
	}); err != nil {
		return v, fmt.Errorf("looking for a token: %w", err)
	}
	if len(v.Standing) == 0 {
		return v, ErrNotFound
	}
	return v, nil
}
