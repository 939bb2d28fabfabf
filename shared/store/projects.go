package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

// everywhere is the project id of members of the whole platform.
const everywhere = access.Everywhere

// SaveProjects stores the projects, repositories and members of the file in one transaction. It adds and changes; what
// is not in the file stays, because runs and their history refer to it. Its error names the lines whose faults only the
// database shows.
func (db *DB) SaveProjects(ctx context.Context, f *project.File) error {
	return db.keep(ctx, func(tx *Tx) ([]events.Record, error) {
		// A step that sees a repository and an account for the first time locks their rows in this order, another
		// migrate in the order of its file. Without locking the tables they could deadlock.
		if _, err := tx.Exec(ctx, `LOCK TABLE repositories, members IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return nil, fmt.Errorf("waiting for those who write who works on what: %w", err)
		}
		s := &saving{tx: tx, bound: map[string]project.Name{}}
		for _, o := range f.Owners {
			if err := s.member(ctx, everywhere, o, access.Owner); err != nil {
				return nil, err
			}
		}
		for _, p := range f.Projects {
			if err := s.project(ctx, p); err != nil {
				return nil, fmt.Errorf("storing project %s: %w", p.ID, err)
			}
		}
		if len(s.wrong) > 0 {
			return nil, fmt.Errorf("the projects file: %s", strings.Join(s.wrong, "; "))
		}
		return s.said, nil
	})
}

// saving is one SaveProjects in progress.
type saving struct {
	tx    *Tx
	bound map[string]project.Name // what the file calls the repository of each key
	wrong []string                // faults that project.Parse can't see
	said  []events.Record         // for the audit: whom a name means now, and which process and prompts apply
}

func (s *saving) project(ctx context.Context, p project.Project) error {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("encoding the settings: %w", err)
	}
	if _, err := s.tx.Exec(ctx, `
		INSERT INTO projects (id, name, settings)
		VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE
		SET name = excluded.name, settings = excluded.settings
	`, p.ID, p.Name, settings); err != nil {
		return err
	}
	if err := s.process(ctx, p.ID, p.Process); err != nil {
		return err
	}
	if err := s.prompts(ctx, p.ID, p.Prompts); err != nil {
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

// repository binds the repository with that number, else the one with that name now, else the one that was bound under
// it. If the name belongs to a repository with another number, a second one is made. Two names in the file may be one
// repository, as its number shows: that is an error, because it is bound once.
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
	err = s.tx.QueryRow(ctx, `
		UPDATE repositories
		SET project_id = $1
		WHERE github_id = $3 OR $3 = 0 AND lower(name) = $2
		RETURNING full_name, github_id
	`, id, r.Text, r.Number).Scan(&key, &number)
	if !errors.Is(err, pgx.ErrNoRows) {
		return key, number, err
	}
	err = s.tx.QueryRow(ctx, `
		INSERT INTO repositories (full_name, project_id, github_id)
		VALUES (CASE WHEN $3::bigint > 0 AND EXISTS (SELECT 1 FROM repositories WHERE full_name = $2 AND github_id IS NOT NULL)
		             THEN $2 || '@' || $3::text ELSE $2 END,
		        $1, nullif($3, 0))
		ON CONFLICT (full_name) DO UPDATE
		SET project_id = excluded.project_id, github_id = coalesce(excluded.github_id, repositories.github_id)
		RETURNING full_name, coalesce(github_id, 0)
	`, id, r.Text, r.Number).Scan(&key, &number)
	if err == nil && r.Number != 0 {
		s.say("repository.pinned", "%s is number %d, as line %d of the projects file says", key, r.Number, r.Line)
	}
	return key, number, err
}

// member stores the role; a number that is known stays, unless the file gives another one.
func (s *saving) member(ctx context.Context, id string, who project.Name, role access.Role) error {
	var was int64
	err := optional(s.tx.QueryRow(ctx, `
		SELECT coalesce(github_id, 0)
		FROM members
		WHERE project_id = $1 AND login = $2
	`, id, who.Text).Scan(&was))
	if err == nil {
		_, err = s.tx.Exec(ctx, `
			INSERT INTO members (project_id, login, role, github_id)
			VALUES ($1, $2, $3, nullif($4::bigint, 0))
			ON CONFLICT (project_id, login) DO UPDATE
			SET role = excluded.role, github_id = coalesce(excluded.github_id, members.github_id)
		`, id, who.Text, role, who.Number)
	}
	switch {
	case err != nil:
		return fmt.Errorf("storing member %s of %s: %w", who.Text, id, err)
	case who.Number == 0 || who.Number == was:
	case was == 0:
		s.say("member.pinned", "@%s in %s is account %d, as line %d of the projects file says", who.Text, id, who.Number, who.Line)
	default:
		s.say("member.pinned", "@%s in %s is account %d, not %d any more, as line %d of the projects file says", who.Text, id, who.Number, was, who.Line)
	}
	return nil
}

func (s *saving) say(action, detail string, args ...any) {
	s.said = append(s.said, known(action, fmt.Sprintf(detail, args...)))
}

// Bound counts the projects, and the repositories that are bound to one.
func (db *DB) Bound(ctx context.Context) (projects, repositories int, err error) {
	if err := db.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM projects), (SELECT count(*) FROM repositories)
	`).Scan(&projects, &repositories); err != nil {
		return 0, 0, fmt.Errorf("counting the projects: %w", err)
	}
	return projects, repositories, nil
}
