-- +goose Up

-- A comment on GitHub names a request that may be decided by now: those of an issue are found by its runs.
CREATE INDEX approvals_by_run ON approvals (run_id);
