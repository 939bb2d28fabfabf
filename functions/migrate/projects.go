package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/project"
)

// everywhere is the project id of members of the whole platform.
const everywhere = "*"

// A saving is one transaction that brings the tables to what the file says.
type saving struct {
	tx    *sql.Tx
	bound map[string]project.Name // how the file names the repository of each key
	wrong []string                // what only the database knows to be wrong
}

func save(ctx context.Context, db *sql.DB, f *project.File) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it is a no-op
	// Two at once with different files would wait for each other's rows crosswise.
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('projects-file', 0))`); err != nil {
		return fmt.Errorf("waiting for another migrate: %w", err)
	}
	s := &saving{tx: tx, bound: map[string]project.Name{}}
	for _, o := range f.Owners {
		if err := s.member(ctx, everywhere, o, access.Owner); err != nil {
			return err
		}
	}
	for _, p := range f.Projects {
		if err := s.project(ctx, p); err != nil {
			return fmt.Errorf("storing project %s: %w", p.ID, err)
		}
	}
	if len(s.wrong) > 0 {
		return fmt.Errorf("the projects file: %s", strings.Join(s.wrong, "; "))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing the projects: %w", err)
	}
	return nil
}

func (s *saving) project(ctx context.Context, p project.Project) error {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("encoding the settings: %w", err)
	}
	if _, err := s.tx.ExecContext(ctx, `
		INSERT INTO projects (id, name, settings)
		VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, settings = excluded.settings
	`, p.ID, p.Name, string(settings)); err != nil {
		return err
	}
	for _, r := range p.Repositories {
		if err := s.repository(ctx, p.ID, r); err != nil {
			return fmt.Errorf("repository %s: %w", r.Text, err)
		}
	}
	for _, m := range p.Members {
		if err := s.member(ctx, p.ID, m.Login, m.Role); err != nil {
			return err
		}
	}
	return nil
}

// repository binds the repository of that number, else the one that is called so now, else the one that was bound by this
// name. A number that is given for a name which another repository has here makes a second one. Two names in the file may
// be one repository, which only its number tells: it is bound once, and so named once.
func (s *saving) repository(ctx context.Context, id string, r project.Name) error {
	key, number, err := s.bind(ctx, id, r)
	if err != nil {
		return err
	}
	if first, twice := s.bound[key]; twice {
		s.wrong = append(s.wrong, fmt.Sprintf("line %d: %s is the repository that line %d names %s (number %d on GitHub). Keep one of the two lines",
			r.Line, r.Text, first.Line, first.Text, number))
	}
	s.bound[key] = r
	return nil
}

// bind returns the key of the repository, and its number, 0 where it is not known.
func (s *saving) bind(ctx context.Context, id string, r project.Name) (key string, number int64, err error) {
	err = s.tx.QueryRowContext(ctx, `
		UPDATE repositories
		SET project_id = $1
		WHERE github_id = $3 OR $3 = 0 AND lower(name) = $2
		RETURNING full_name, github_id
	`, id, r.Text, r.Number).Scan(&key, &number)
	if !errors.Is(err, sql.ErrNoRows) {
		return key, number, err
	}
	err = s.tx.QueryRowContext(ctx, `
		INSERT INTO repositories (full_name, project_id, github_id)
		VALUES (CASE WHEN $3 > 0 AND EXISTS (SELECT 1 FROM repositories WHERE full_name = $2 AND github_id IS NOT NULL)
		             THEN $2 || '@' || $3 ELSE $2 END,
		        $1, nullif($3, 0))
		ON CONFLICT (full_name) DO UPDATE
		SET project_id = excluded.project_id, github_id = coalesce(excluded.github_id, repositories.github_id)
		RETURNING full_name, coalesce(github_id, 0)
	`, id, r.Text, r.Number).Scan(&key, &number)
	if err != nil || r.Number == 0 {
		return key, number, err
	}
	return key, number, s.audit(ctx, "repository.pinned", "%s is number %d, as line %d of the projects file says", key, r.Number, r.Line)
}

// member stores the role; a number that is known stays, unless the file gives another one.
func (s *saving) member(ctx context.Context, id string, who project.Name, role access.Role) error {
	var was int64
	err := s.tx.QueryRowContext(ctx, `
		SELECT coalesce(github_id, 0)
		FROM members
		WHERE project_id = $1 AND login = $2
	`, id, who.Text).Scan(&was)
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		_, err = s.tx.ExecContext(ctx, `
			INSERT INTO members (project_id, login, role, github_id)
			VALUES ($1, $2, $3, nullif($4, 0))
			ON CONFLICT (project_id, login) DO UPDATE
			SET role = excluded.role, github_id = coalesce(excluded.github_id, members.github_id)
		`, id, who.Text, role, who.Number)
	}
	switch {
	case err != nil:
		return fmt.Errorf("storing member %s of %s: %w", who.Text, id, err)
	case who.Number == 0 || who.Number == was:
		return nil
	case was == 0:
		return s.audit(ctx, "member.pinned", "@%s in %s is account %d, as line %d of the projects file says", who.Text, id, who.Number, who.Line)
	}
	return s.audit(ctx, "member.pinned", "@%s in %s is account %d, not %d any more, as line %d of the projects file says", who.Text, id, who.Number, was, who.Line)
}

// audit writes down who is meant by a name from now on: rights hang on it.
func (s *saving) audit(ctx context.Context, action, detail string, args ...any) error {
	_, err := s.tx.ExecContext(ctx, `
		INSERT INTO audit (at, actor, action, function, detail)
		VALUES ($1, 'platform', $2, 'migrate', $3)
	`, time.Now(), action, fmt.Sprintf(detail, args...))
	if err != nil {
		return fmt.Errorf("writing the audit: %w", err)
	}
	return nil
}
