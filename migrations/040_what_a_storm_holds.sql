-- +goose Up

-- What was asked for on an issue and held, because too much was asked for in its repository at once: shape stage.Held.
ALTER TABLE work_items ADD COLUMN held jsonb, ADD COLUMN held_at timestamptz;
CREATE INDEX work_items_held ON work_items (repository, held_at) WHERE held_at IS NOT NULL;
