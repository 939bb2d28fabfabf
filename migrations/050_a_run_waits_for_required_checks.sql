-- +goose Up

-- What GitHub has said of what the run has left: shape stage.Exit.
ALTER TABLE runs ADD COLUMN exit jsonb NOT NULL DEFAULT '{}';

ALTER TABLE runs DROP CONSTRAINT runs_waiting_for_check;
ALTER TABLE runs ADD CONSTRAINT runs_waiting_for_check
    CHECK (waiting_for IN ('', 'approval', 'question', 'owner_review', 'budget', 'rate_limit', 'checks')) NOT VALID;
ALTER TABLE runs VALIDATE CONSTRAINT runs_waiting_for_check;
