-- +goose Up

ALTER TABLE runs
    -- What the run has asked people, and what has become of that: shape []stage.Ask. Not jsonb, which would write the
    -- arguments in another way than people have seen them.
    ADD COLUMN asks json NOT NULL DEFAULT '[]',
    -- Since when its deadline stands still; NULL = it does not.
    ADD COLUMN paused_at timestamptz,
    -- Its last Job is over, and the next one is not admitted.
    ADD COLUMN job_over boolean NOT NULL DEFAULT false,
    -- When it last had all its answers, and waits for a place since.
    ADD COLUMN resumed_at timestamptz;

-- What agents have asked, from the moment when they were told that they wait: the end of a Job is judged by it, whatever
-- news comes first.
CREATE TABLE run_asks (
    run_id   uuid        NOT NULL REFERENCES runs (id),
    id       uuid        NOT NULL,
    request  json        NOT NULL, -- shape events.ApprovalRequested
    asked_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, id)
);
