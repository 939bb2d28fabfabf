package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// A Repository is a GitHub repository as the platform knows it. A bound one is identified by its number once that was
// seen: it keeps its key and everything stored under it when it is renamed or transferred, and a repository that takes
// over its name is another one.
type Repository struct {
	Key      string // lower case; its work items are stored under it, and it never changes
	Name     string // "owner/name", as GitHub spells it now
	ID       int64  // GitHub's number; 0 = not known
	Bound    bool   // to a project
	CloneURL string // "" = not known
	// Taken is the number of the repository that is known by this name, if that is another one; else 0.
	Taken int64
	// Process is its project's, else the installation's.
	Process *stage.Process
}

// A Sighting is what GitHub said about a repository at a time: its number and its name.
type Sighting struct {
	ID       int64 // 0 = it does not say
	Name     string
	CloneURL string    // "" = it does not say
	At       time.Time // by GitHub's clock
}

// An Account is a GitHub account: its number (0 = not given) and its login.
type Account struct {
	ID    int64
	Login string
}

// Repository finds a repository by its number, else by its name: the bound name as long as its number is not known, or,
// if the caller has no number, any name that it has had. A repository that belongs to no project has its name as its
// key.
func (db *DB) Repository(ctx context.Context, id int64, name string) (Repository, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT `+repositoryColumns+`
		FROM repositories r`+inForce+`
		WHERE r.github_id = $1 OR r.full_name = $3 OR lower(r.name) = $3
	`, id, db.processes.known(), strings.ToLower(name))
	if err != nil {
		return Repository{}, fmt.Errorf("looking for repository %s: %w", name, err)
	}
	known, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Repository, error) { return db.scanRepository(row) })
	if err != nil {
		return Repository{}, fmt.Errorf("looking for repository %s: %w", name, err)
	}
	r := choose(known, id, name)
	if !r.Bound {
		r.Process = db.processes.own()
	}
	return r, nil
}

// repositoryColumns are those of scanRepository, of r joined with inForce.
const repositoryColumns = `r.full_name, coalesce(r.name, r.full_name), coalesce(r.github_id, 0), coalesce(r.clone_url, ''), coalesce(p.hash, ''), coalesce(p.text, '')`

func (db *DB) scanRepository(row pgx.CollectableRow, more ...any) (Repository, error) {
	r := Repository{Bound: true}
	var hash, text string
	err := row.Scan(append([]any{&r.Key, &r.Name, &r.ID, &r.CloneURL, &hash, &text}, more...)...)
	r.Process = db.processes.ofProject(hash, text)
	return r, err
}

// choose picks among the repositories known by the number or the name.
func choose(known []Repository, id int64, name string) Repository {
	lower := strings.ToLower(name)
	for _, is := range []func(Repository) bool{
		func(r Repository) bool { return id != 0 && r.ID == id },
		func(r Repository) bool { return r.ID == 0 && r.Key == lower },
		func(r Repository) bool { return id == 0 && strings.ToLower(r.Name) == lower },
		func(r Repository) bool { return id == 0 && r.Key == lower },
	} {
		for _, r := range known {
			if is(r) {
				return r
			}
		}
	}
	unbound := Repository{Key: lower, Name: name, ID: id}
	for _, r := range known {
		unbound.Taken = r.ID
		if r.Key == lower {
			unbound.Key = fmt.Sprintf("%s@%d", lower, id)
		}
	}
	return unbound
}

// RepositoryOfRun is a run's repository under its present name; ErrNotFound if there is no such run.
func (db *DB) RepositoryOfRun(ctx context.Context, runID string) (Repository, error) {
	var r Repository
	var hash, text string
	err := db.pool.QueryRow(ctx, `
		SELECT w.repository, coalesce(r.name, w.full_name), coalesce(r.github_id, 0), r.full_name IS NOT NULL, coalesce(r.clone_url, ''),
		       coalesce(p.hash, ''), coalesce(p.text, '')
		FROM runs
		JOIN work_items w USING (repository, issue)
		LEFT JOIN repositories r ON r.full_name = w.repository`+inForce+`
		WHERE runs.id = $1
	`, uuidOrNull(runID), db.processes.known()).Scan(&r.Key, &r.Name, &r.ID, &r.Bound, &r.CloneURL, &hash, &text)
	r.Process = db.processes.ofProject(hash, text)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return r, fmt.Errorf("looking for run %s: %w", runID, err)
	}
	return r, nil
}

// SeeRepository stores what GitHub says about a bound repository and returns it as it is now known, with the audit of
// what is new. An older name never replaces a newer one.
func (tx *Tx) SeeRepository(ctx context.Context, r Repository, s Sighting) (Repository, []events.Record, error) {
	if !r.Bound || s.ID == 0 || r.ID == s.ID && r.Name == s.Name && (s.CloneURL == "" || r.CloneURL == s.CloneURL) {
		return r, nil, nil
	}
	// The projects file may use the new name before it was known to be the same repository.
	ct, err := tx.Exec(ctx, `
		WITH twin AS (
			DELETE FROM repositories
			WHERE full_name = $3 AND full_name <> $1 AND github_id IS NULL
			  -- One look into the index: asked for repository = $3, Postgres expects a hit at once and reads the table.
			  AND NOT EXISTS (SELECT 1
			                  FROM (SELECT repository FROM runs WHERE repository >= $3 ORDER BY repository LIMIT 1) AS next
			                  WHERE next.repository = $3)
			  AND EXISTS (SELECT 1 FROM repositories WHERE full_name = $1 AND (named_at IS NULL OR named_at <= $5))
			RETURNING project_id
		)
		UPDATE repositories
		SET github_id = $2, name = $4, named_at = $5, clone_url = coalesce(nullif($6, ''), clone_url),
		    project_id = coalesce((SELECT project_id FROM twin), project_id)
		WHERE full_name = $1 AND coalesce(github_id, $2) = $2 AND (named_at IS NULL OR named_at <= $5)
		  AND (github_id IS NULL OR (name, clone_url) IS DISTINCT FROM ($4, coalesce(nullif($6, ''), clone_url)))
	`, r.Key, s.ID, strings.ToLower(s.Name), s.Name, s.At, s.CloneURL)
	if err != nil {
		return r, nil, fmt.Errorf("noting the number and name of %s: %w", s.Name, err)
	}
	if ct.RowsAffected() == 0 { // it is out of date, or somebody was faster
		r, err = tx.reread(ctx, r, s.ID)
		return r, nil, err
	}
	var learnt []events.Record
	if r.ID == 0 {
		learnt = append(learnt, known("repository.known", fmt.Sprintf("%s is number %d; from now on the number counts", r.Key, s.ID)))
	}
	if !strings.EqualFold(r.Name, s.Name) {
		learnt = append(learnt, known("repository.renamed", fmt.Sprintf("%s (number %d) is %s now", r.Name, s.ID, s.Name)))
	}
	r.ID, r.Name, r.CloneURL = s.ID, s.Name, cmp.Or(s.CloneURL, r.CloneURL)
	return r, learnt, nil
}

// KeepRepository is SeeRepository for a caller that asked GitHub for r. GitHub redirects a former name, so the answer
// may be a repository that is already bound by its number or present name: then it is that one.
func (db *DB) KeepRepository(ctx context.Context, r Repository, s Sighting) (Repository, error) {
	present, err := db.Repository(ctx, s.ID, s.Name)
	if err != nil {
		return r, err
	}
	if present.Bound {
		r = present
	}
	err = db.keep(ctx, func(tx *Tx) (learnt []events.Record, err error) {
		r, learnt, err = tx.SeeRepository(ctx, r, s)
		return learnt, err
	})
	return r, err
}

// KeepAccount is SeeAccount for a caller that asked GitHub.
func (db *DB) KeepAccount(ctx context.Context, a Account) error {
	return db.keep(ctx, func(tx *Tx) ([]events.Record, error) { return tx.SeeAccount(ctx, a) })
}

// keep audits what was learnt, without an event as its cause, and logs it.
func (db *DB) keep(ctx context.Context, learn func(*Tx) ([]events.Record, error)) error {
	return db.inTx(ctx, func(tx *Tx) error {
		learnt, err := learn(tx)
		if err != nil {
			return err
		}
		for _, r := range learnt {
			slog.InfoContext(ctx, r.Detail, "action", r.Action)
		}
		_, err = tx.record(ctx, Cause{}.event(), "", events.Decision{Audit: learnt})
		return err
	})
}

// Unnumbered are the logins of members whose account number is not known yet.
func (db *DB) Unnumbered(ctx context.Context) ([]string, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT DISTINCT login
		FROM members
		WHERE github_id IS NULL
		ORDER BY login
	`)
	if err != nil {
		return nil, fmt.Errorf("reading the members: %w", err)
	}
	logins, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("reading the members: %w", err)
	}
	return logins, nil
}

// reread reads the repository again; ErrChanged if it turned out to have another number.
func (tx *Tx) reread(ctx context.Context, r Repository, id int64) (Repository, error) {
	err := tx.QueryRow(ctx, `
		SELECT coalesce(name, full_name), coalesce(github_id, 0)
		FROM repositories
		WHERE full_name = $1
	`, r.Key).Scan(&r.Name, &r.ID)
	if err != nil {
		return r, fmt.Errorf("reading repository %s again: %w", r.Key, err)
	}
	if r.ID != 0 && r.ID != id {
		return r, fmt.Errorf("repository %s: %w: it is number %d, not %d", r.Key, ErrChanged, r.ID, id)
	}
	return r, nil
}

// SeeAccount gives the members of that login their number, once, and returns the audit of what is new. A login keeps
// the number first seen, even if another account has the login now.
func (tx *Tx) SeeAccount(ctx context.Context, a Account) ([]events.Record, error) {
	if a.ID == 0 || a.Login == "" {
		return nil, nil
	}
	ct, err := tx.Exec(ctx, `
		UPDATE members
		SET github_id = $2
		WHERE login = $1 AND github_id IS NULL
		  AND NOT EXISTS (SELECT 1 FROM members other WHERE other.login = $1 AND other.github_id <> $2)
	`, strings.ToLower(a.Login), a.ID)
	if err != nil {
		return nil, fmt.Errorf("noting the number of @%s: %w", a.Login, err)
	}
	if ct.RowsAffected() == 0 {
		return nil, nil
	}
	return []events.Record{known("member.known", fmt.Sprintf("@%s is account %d; from now on the number counts", a.Login, a.ID))}, nil
}

func known(action, detail string) events.Record {
	return events.Record{Actor: "platform", Action: action, Detail: detail}
}
