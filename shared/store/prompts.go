package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/stage"
)

// A Briefing is what a run's agent is told by, besides the run itself.
type Briefing struct {
	Settings project.Settings
	// Process is the one that the run was requested under; the installation's if that is not known.
	Process *stage.Process
	Prompts prompt.Parts // the project's own
	Version int          // of Prompts
}

// Briefing reads what the agent of a run is to be told by.
func (db *DB) Briefing(ctx context.Context, run AgentRun) (Briefing, error) {
	var b Briefing
	var text string
	err := db.pool.QueryRow(ctx, `
		SELECT p.settings, coalesce(t.text, ''), coalesce(q.parts, 'null'), coalesce(q.version, 0)
		FROM projects p
		LEFT JOIN processes t ON t.hash = $2 AND t.hash <> ALL ($3)
		LEFT JOIN LATERAL (
			SELECT parts, version
			FROM project_prompts
			WHERE project_id = p.id
			ORDER BY version DESC
			LIMIT 1
		) q ON true
		WHERE p.id = $1
	`, run.Project, processOf(run.Grant), db.processes.known()).Scan(&b.Settings, &text, &b.Prompts, &b.Version)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Briefing{}, fmt.Errorf("reading what the agent of run %s is told by: %w", run.ID, err)
	}
	if b.Process = db.processes.ofRun(run.Grant, text); b.Process == nil {
		b.Process = db.processes.own()
	}
	return b, nil
}

func processOf(grant *stage.Grant) string {
	if grant == nil {
		return ""
	}
	return grant.Process
}

// KeepPrompt records what the run's task was written from, once and for all.
func (db *DB) KeepPrompt(ctx context.Context, runID string, used prompt.Used) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET prompt = $2
		WHERE id = $1 AND prompt IS NULL
	`, runID, used)
	if err != nil {
		return fmt.Errorf("keeping what the task of run %s was written from: %w", runID, err)
	}
	return nil
}

// prompts sets the project's own parts of prompts, if they have changed.
func (s *saving) prompts(ctx context.Context, id string, parts prompt.Parts) error {
	var value *string // NULL = none
	if len(parts) > 0 {
		text, err := json.Marshal(parts)
		if err != nil {
			return fmt.Errorf("encoding the prompts of %s: %w", id, err)
		}
		value = new(string(text))
	}
	var version int
	err := optional(s.tx.QueryRow(ctx, `
		INSERT INTO project_prompts (project_id, version, parts, set_by, set_at)
		SELECT $1::text, coalesce(max(version), 0) + 1, $2::jsonb, $3::text, $4::timestamptz
		FROM project_prompts
		WHERE project_id = $1
		HAVING (array_agg(parts ORDER BY version DESC))[1] IS DISTINCT FROM $2::jsonb
		RETURNING version
	`, id, value, "function:"+s.tx.function, s.tx.now).Scan(&version))
	switch {
	case err != nil:
		return fmt.Errorf("storing the prompts of %s: %w", id, err)
	case version == 0:
	case value == nil:
		s.say("project.prompts_set", "project %s has the installation's prompts", id)
	default:
		s.say("project.prompts_set", "project %s has prompts of its own, version %d", id, version)
	}
	return nil
}
