-- +goose Up

-- Up to when the deliveries of a GitHub App's own hook were compared with ours.
CREATE TABLE app_hooks (
    credential  text        PRIMARY KEY,
    reconciled_at timestamptz NOT NULL
);
-- Have deliveries of this hook come before? Asked for the few hooks of a repository, with any number of deliveries.
CREATE INDEX deliveries_by_hook ON deliveries (hook_id);

-- A dead letter whose event was handled after all needs nobody any more.
ALTER TABLE dead_letters ADD COLUMN handled_at timestamptz;
CREATE INDEX dead_letters_unhandled ON dead_letters (died_at) WHERE handled_at IS NULL;
DROP INDEX dead_letters_open;
