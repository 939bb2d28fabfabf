-- +goose Up

-- Runs that wait for people may be many, and for long. The others are found without them.
CREATE INDEX runs_at_work ON runs (state) WHERE finished_at IS NULL AND state <> 'waiting';
CREATE INDEX runs_waiting ON runs (created_at) WHERE finished_at IS NULL AND state = 'waiting';
-- What was sent and not recorded is found among the timers whose time has not come.
CREATE INDEX pending_sent ON pending (function) WHERE attempts > 0;
