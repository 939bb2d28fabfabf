-- +goose Up

-- What the platform has done for the run's agent without asking anybody: shape []stage.Call. Not jsonb, as runs.asks.
ALTER TABLE runs ADD COLUMN calls json NOT NULL DEFAULT '[]';
