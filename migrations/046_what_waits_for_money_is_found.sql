-- +goose Up

-- Runs that wait for money or for their model's limit are few among those that wait for people.
CREATE INDEX runs_at_a_standstill ON runs (paused_at) WHERE finished_at IS NULL AND state = 'waiting' AND waiting_for IN ('budget', 'rate_limit');
