package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
)

// SignInWithin is how long a person may take at GitHub.
const SignInWithin = 10 * time.Minute

// A SignIn is one that has begun: what is needed to end it.
type SignIn struct {
	Verifier string // of PKCE
	ReturnTo string // a path of the console
}

// BeginSignIn keeps a sign-in under the hash of its state, for the browser with the hash. Those that nobody ended go.
func (db *DB) BeginSignIn(ctx context.Context, state, browser []byte, s SignIn) error {
	var b pgx.Batch
	b.Queue(`
		DELETE FROM console_logins
		WHERE begun_at < $1
	`, db.Now().Add(-SignInWithin))
	b.Queue(`
		INSERT INTO console_logins (state, browser, verifier, return_to, begun_at)
		VALUES ($1, $2, $3, $4, $5)
	`, state, browser, s.Verifier, s.ReturnTo, db.Now())
	if err := db.pool.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("keeping a sign-in: %w", err)
	}
	return nil
}

// EndSignIn takes the sign-in of that state and browser: it is gone after. ErrNotFound if there is none, it is another
// browser's, or it is too old. Another browser's stays, so that nobody can end what is not theirs.
func (db *DB) EndSignIn(ctx context.Context, state, browser []byte) (s SignIn, err error) {
	err = db.pool.QueryRow(ctx, `
		DELETE FROM console_logins
		WHERE state = $1 AND browser = $2 AND begun_at >= $3
		RETURNING verifier, return_to
	`, state, browser, db.Now().Add(-SignInWithin)).Scan(&s.Verifier, &s.ReturnTo)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, ErrNotFound
	}
	if err != nil {
		return s, fmt.Errorf("looking for a sign-in: %w", err)
	}
	return s, nil
}

// A Visitor is a person who is signed in, with the rights that they have now.
type Visitor struct {
	Account  Account
	Standing access.Standing
	Expires  time.Time
	Scopes   []access.Scope // of the token by which their program comes; nil = they are signed in themselves
}

// SignIn signs a person in: members of that login have the account's number from now on, and the cookie with the
// hash is theirs until expires. old is the hash of the cookie that the browser had; its session ends. A person without
// any role is not signed in, ErrNotFound. Both are audited.
func (db *DB) SignIn(ctx context.Context, hash, old []byte, a Account, device string, expires time.Time) error {
	refused := false
	err := db.inTx(ctx, func(tx *Tx) error {
		learnt, err := tx.SeeAccount(ctx, a)
		if err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(`
			DELETE FROM console_sessions
			WHERE hash = $1 OR expires_at < $2
		`, notNil(old), tx.now)
		b.Queue(`
			INSERT INTO console_sessions (hash, github_id, login, device, begun_at, expires_at)
			SELECT $1, $2, $3, $4, $5, $6
			WHERE EXISTS (SELECT 1 FROM members WHERE github_id = $2)
		`, hash, a.ID, a.Login, plain.Cut(plain.Text(device), 200), tx.now, expires).Exec(func(ct pgconnTag) error {
			refused = ct.RowsAffected() == 0
			return nil
		})
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		did := events.Record{Actor: "github:" + a.Login, Action: "console.signed_in", Detail: fmt.Sprintf("account %d", a.ID)}
		if refused {
			did.Action = "console.refused"
		}
		_, err = tx.record(ctx, Cause{}.event(), "", events.Decision{Audit: append(learnt, did)})
		return err
	})
	if err != nil {
		return fmt.Errorf("signing @%s in: %w", a.Login, err)
	}
	if refused {
		return ErrNotFound
	}
	return nil
}

// Visitor is who holds the cookie with that hash. ErrNotFound if nobody does, the time is up, or the person has no role
// any more.
func (db *DB) Visitor(ctx context.Context, hash []byte) (Visitor, error) {
	v := Visitor{Standing: access.Standing{}}
	rows, err := db.pool.Query(ctx, `
		SELECT s.github_id, s.login, s.expires_at, m.project_id, m.role
		FROM console_sessions s
		JOIN members m USING (github_id)
		WHERE s.hash = $1 AND s.expires_at > $2
	`, hash, db.Now())
	if err != nil {
		return v, fmt.Errorf("looking for a session: %w", err)
	}
	var project string
	var role access.Role
	if _, err := pgx.ForEachRow(rows, []any{&v.Account.ID, &v.Account.Login, zero(&v.Expires), &project, &role}, func() error {
		if !v.Standing[project].AtLeast(role) {
			v.Standing[project] = role
		}
		return nil
	}); err != nil {
		return v, fmt.Errorf("looking for a session: %w", err)
	}
	if len(v.Standing) == 0 {
		return v, ErrNotFound
	}
	return v, nil
}

// SignOut signs out whoever holds the cookie with that hash.
func (db *DB) SignOut(ctx context.Context, hash []byte) error {
	if _, err := db.pool.Exec(ctx, `
		DELETE FROM console_sessions
		WHERE hash = $1
	`, hash); err != nil {
		return fmt.Errorf("closing a session: %w", err)
	}
	return nil
}
