-- +goose Up

-- A project's past runs, the newest first, for agents that learn from them.
CREATE INDEX runs_by_project ON runs (project_id, created_at, id);
