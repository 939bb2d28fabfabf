-- +goose Up

-- The databases that tools have made for runs, on servers of projects: by the namespace of the run, which names them and
-- which they go with.
CREATE TABLE run_databases (
    namespace   text        PRIMARY KEY CHECK (namespace <> ''),
    -- The Secret that lets us in, as the project's settings named it then.
    server      text        NOT NULL CHECK (server <> ''),
    -- Its password and the Secret of the namespace fit. false: it is being made, or its Secret is.
    made        boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL
);
