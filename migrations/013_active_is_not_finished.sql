-- +goose Up

-- A run is active as long as it has not finished (finished_when_final), so no query has to list the states.
CREATE INDEX active_runs ON runs (project_id, created_at) WHERE finished_at IS NULL;
DROP INDEX active_runs_by_project;
