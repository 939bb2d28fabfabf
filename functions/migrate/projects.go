package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/project"
)

// everywhere is the project id of members of the whole platform.
const everywhere = "*"

// save brings the tables to what the file says, in one transaction.
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
	for _, o := range f.Owners {
		if err := saveMember(ctx, tx, everywhere, o, access.Owner); err != nil {
			return err
		}
	}
	for _, p := range f.Projects {
		if err := saveProject(ctx, tx, p); err != nil {
			return fmt.Errorf("storing project %s: %w", p.ID, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing the projects: %w", err)
	}
	return nil
}

func saveProject(ctx context.Context, tx *sql.Tx, p project.Project) error {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("encoding the settings: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO projects (id, name, settings)
		VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, settings = excluded.settings
	`, p.ID, p.Name, string(settings)); err != nil {
		return err
	}
	for _, r := range p.Repositories {
		if err := saveRepository(ctx, tx, p.ID, r); err != nil {
			return fmt.Errorf("repository %s: %w", r.Text, err)
		}
	}
	for _, m := range p.Members {
		if err := saveMember(ctx, tx, p.ID, m.Login, m.Role); err != nil {
			return err
		}
	}
	return nil
}

// saveRepository binds the repository of that number, else the one that is called so now, else the one that was bound by
// this name. A number that is given for a name which another repository has here makes a second one.
func saveRepository(ctx context.Context, tx *sql.Tx, id string, repository project.Name) error {
	result, err := tx.ExecContext(ctx, `
		UPDATE repositories
		SET project_id = $1
		WHERE github_id = $3 OR $3 = 0 AND lower(name) = $2
	`, id, repository.Text, repository.Number)
	if err != nil {
		return err
	}
	if known, err := result.RowsAffected(); err != nil || known > 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO repositories (full_name, project_id, github_id)
		VALUES (CASE WHEN $3 > 0 AND EXISTS (SELECT 1 FROM repositories WHERE full_name = $2 AND github_id IS NOT NULL)
		             THEN $2 || '@' || $3 ELSE $2 END,
		        $1, nullif($3, 0))
		ON CONFLICT (full_name) DO UPDATE
		SET project_id = excluded.project_id, github_id = coalesce(excluded.github_id, repositories.github_id)
	`, id, repository.Text, repository.Number)
	return err
}

// saveMember stores the role; a number that is known stays, unless the file gives another one.
func saveMember(ctx context.Context, tx *sql.Tx, id string, who project.Name, role access.Role) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO members (project_id, login, role, github_id)
		VALUES ($1, $2, $3, nullif($4, 0))
		ON CONFLICT (project_id, login) DO UPDATE
		SET role = excluded.role, github_id = coalesce(excluded.github_id, members.github_id)
	`, id, who.Text, role, who.Number)
	if err != nil {
		return fmt.Errorf("storing member %s of %s: %w", who.Text, id, err)
	}
	return nil
}
