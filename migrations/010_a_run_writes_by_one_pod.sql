-- +goose Up

ALTER TABLE runs
    -- SHA-256 of the secret of the pod that may write to the repository; NULL = none has claimed the run, as before this release.
    ADD COLUMN pod bytea,
    -- When that pod was heard of last.
    ADD COLUMN pod_seen_at timestamptz;
