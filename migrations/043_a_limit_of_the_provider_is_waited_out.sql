-- +goose Up

-- Until when a model is not to be asked, as its provider has said. A row stays: tries counts how often in a row.
CREATE TABLE model_pauses (
    model       text        PRIMARY KEY,
    until       timestamptz NOT NULL,
    reason      text        NOT NULL,
    tries       int         NOT NULL
);

ALTER TABLE runs
    -- What the provider said last to the run's calls: shape events.LLMLimited. llm-caller writes it beside the event.
    ADD COLUMN limited jsonb,
    -- A run that waits for such a limit goes on then.
    ADD COLUMN not_before timestamptz;
