-- +goose Up

-- The commit of the base branch that a run goes by, '' until it is known: where the branch was when the run was asked for.
ALTER TABLE runs ADD COLUMN base_commit text NOT NULL DEFAULT '';
