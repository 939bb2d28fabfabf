-- +goose Up

-- Where the run waits in its project's queue, as its status comment says it; 0 = it does not wait there.
ALTER TABLE runs ADD COLUMN position int NOT NULL DEFAULT 0 CHECK (position >= 0);
