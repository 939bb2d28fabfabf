-- +goose Up

-- Every event that the platform received or emitted, byte for byte: the log, and the outbox.
CREATE TABLE events (
    source      text        NOT NULL,
    id          text        NOT NULL,
    type        text        NOT NULL,
    subject     text        NOT NULL DEFAULT '',
    time        timestamptz NOT NULL,
    extensions  jsonb       NOT NULL DEFAULT '{}',
    content_type text       NOT NULL DEFAULT 'application/json',
    data        bytea       NOT NULL,
    -- The function and the event that caused this one; empty for an event from outside.
    function    text        NOT NULL DEFAULT '',
    cause_source text       NOT NULL DEFAULT '',
    cause_id    text        NOT NULL DEFAULT '',
    n           int         NOT NULL DEFAULT 0,
    not_before  timestamptz,
    correlation text        NOT NULL DEFAULT '',
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, id)
);
-- What did this event cause? Asked when a redelivery finds its inbox row.
CREATE INDEX events_by_cause ON events (cause_id, function) WHERE cause_id <> '';
CREATE INDEX events_by_correlation ON events (correlation, stored_at) WHERE correlation <> '';

-- One row per event and function that handled it: the receipt, and the guard against doing it twice.
CREATE TABLE inbox (
    function    text        NOT NULL,
    source      text        NOT NULL,
    id          text        NOT NULL,
    handled_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (function, source, id)
);

-- One row per event and function that has still to record it. Written with the event, deleted with
-- the receipt, so the table stays as small as the work that is outstanding.
CREATE TABLE pending (
    function    text        NOT NULL,
    source      text        NOT NULL,
    id          text        NOT NULL,
    due_at      timestamptz NOT NULL,
    attempts    int         NOT NULL DEFAULT 0,
    PRIMARY KEY (function, source, id)
);
CREATE INDEX pending_by_due ON pending (due_at);

-- Events that failed for good at a function, until a person replays or discards them.
CREATE TABLE dead_letters (
    function    text        NOT NULL,
    source      text        NOT NULL,
    id          text        NOT NULL,
    type        text        NOT NULL,
    code        int         NOT NULL DEFAULT 0,
    error       text        NOT NULL DEFAULT '',
    envelope    jsonb       NOT NULL,
    died_at     timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    PRIMARY KEY (function, source, id)
);
CREATE INDEX dead_letters_open ON dead_letters (died_at) WHERE replayed_at IS NULL;

-- GitHub's deliveries by their GUID. The payload is the event's data.
CREATE TABLE deliveries (
    guid        text        PRIMARY KEY,
    event       text        NOT NULL,
    action      text        NOT NULL DEFAULT '',
    repository  text        NOT NULL DEFAULT '',
    hook_id     bigint      NOT NULL DEFAULT 0,
    sha256      bytea       NOT NULL,
    status      text        NOT NULL CHECK (status IN ('accepted', 'ignored')),
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deliveries_by_time ON deliveries (received_at);

-- Who did what to which work item, and why. Only ever appended to.
CREATE TABLE audit (
    seq         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    actor       text        NOT NULL,
    action      text        NOT NULL,
    work_item   text        NOT NULL DEFAULT '',
    run_id      uuid,
    reason      text        NOT NULL DEFAULT '',
    detail      text        NOT NULL DEFAULT '',
    function    text        NOT NULL,
    event_source text       NOT NULL DEFAULT '',
    event_id    text        NOT NULL DEFAULT '',
    -- Rows of transactions that are still open may carry a lower seq: a seal waits for them.
    tx          xid8        NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX audit_by_work_item ON audit (work_item, seq) WHERE work_item <> '';
CREATE INDEX audit_by_run ON audit (run_id, seq) WHERE run_id IS NOT NULL;

-- +goose StatementBegin
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- The audit in sealed batches: each hash covers the rows of its batch and the hash before it.
CREATE TABLE audit_seals (
    batch       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rows        int         NOT NULL,
    seqs        bigint[]    NOT NULL,
    previous    bytea       NOT NULL,
    hash        bytea       NOT NULL,
    sealed_at   timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE audit_sealed (
    seq         bigint      PRIMARY KEY,
    batch       bigint      NOT NULL REFERENCES audit_seals (batch)
);
