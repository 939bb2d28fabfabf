-- +goose Up

ALTER TABLE runs
    -- What the run does in its stage. NULL = of the release before, for which revise says it, and still does.
    ADD COLUMN kind text CHECK (kind IN ('work', 'revise', 'review', 'discussion')),
    ADD COLUMN waiting_for text NOT NULL DEFAULT ''
        CHECK (waiting_for IN ('', 'approval', 'question', 'owner_review', 'budget', 'rate_limit')),
    -- What the run may do, as of its request: shape stage.Grant. NULL = of the release before.
    ADD COLUMN granted jsonb,
    ADD CONSTRAINT waits_for_something CHECK (state <> 'waiting' OR waiting_for <> '');

-- The agent's conversation, continued by the next run of the stage: what it says of another stage's work is another's.
CREATE TABLE conversations (
    repository  text        NOT NULL,
    issue       int         NOT NULL,
    stage       text        NOT NULL,
    engine      text        NOT NULL,
    version     bigint      NOT NULL CHECK (version > 0),
    thread_id   text        NOT NULL,
    sha256      bytea       NOT NULL,
    data        bytea       NOT NULL,
    run_id      uuid        NOT NULL REFERENCES runs (id),
    saved_at    timestamptz NOT NULL,
    PRIMARY KEY (repository, issue, stage, engine)
);
INSERT INTO conversations
SELECT s.repository, s.issue, r.stage, s.engine, s.version, s.thread_id, s.sha256, s.data, s.run_id, s.saved_at
FROM sessions s
JOIN runs r ON r.id = s.run_id;

-- The release before knows one conversation of an issue and an engine. It finds the newest one in sessions, where this
-- release leaves a copy, and what it saves there is the stage's. Table and trigger go with the release after this one.
-- +goose StatementBegin
CREATE FUNCTION session_is_conversation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO conversations AS c
    SELECT NEW.repository, NEW.issue, r.stage, NEW.engine, NEW.version, NEW.thread_id, NEW.sha256, NEW.data, NEW.run_id, NEW.saved_at
    FROM runs r
    WHERE r.id = NEW.run_id
    ON CONFLICT (repository, issue, stage, engine) DO UPDATE
    SET version = excluded.version, thread_id = excluded.thread_id, sha256 = excluded.sha256,
        data = excluded.data, run_id = excluded.run_id, saved_at = excluded.saved_at
    WHERE (c.version, c.run_id, c.sha256) IS DISTINCT FROM (excluded.version, excluded.run_id, excluded.sha256);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER session_is_conversation AFTER INSERT OR UPDATE ON sessions
    FOR EACH ROW EXECUTE FUNCTION session_is_conversation();
