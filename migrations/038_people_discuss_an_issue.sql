-- +goose Up

-- What is known of the discussion on an issue: whether there is one, and which comments wait for an answer.
ALTER TABLE work_items ADD COLUMN talk jsonb NOT NULL DEFAULT '{}';

-- What a turn of a discussion answers; of another run what was discussed before it.
ALTER TABLE runs ADD COLUMN talk jsonb;

-- The newest run of a stage is found behind however many turns, and the turns among all runs.
CREATE INDEX runs_of_stages ON runs (repository, issue, created_at) WHERE kind IS DISTINCT FROM 'discussion';
CREATE INDEX turns ON runs (repository, issue, created_at) WHERE kind = 'discussion';
