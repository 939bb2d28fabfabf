-- +goose Up

-- SHA-256 of the process by which it was decided, as in processes; empty where no process was asked, or the release before decided.
ALTER TABLE audit ADD COLUMN process text NOT NULL DEFAULT '';
