-- +goose Up

-- How many Jobs the run had before the one it is at: a run that waits for a person holds no pod, and
-- the answer starts its next Job. News of an earlier one comes too late.
ALTER TABLE runs ADD COLUMN attempt int NOT NULL DEFAULT 0;
