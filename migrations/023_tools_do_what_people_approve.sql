-- +goose Up

-- The label that follows on the active run, which people have approved: shape stage.Next. NULL = none.
ALTER TABLE work_items ADD COLUMN next json;

-- How often the run's agent has had something done without asking anybody.
ALTER TABLE runs ADD COLUMN tool_calls integer NOT NULL DEFAULT 0;
