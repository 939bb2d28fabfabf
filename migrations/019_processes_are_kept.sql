-- +goose Up

-- Every process by which a run was ever requested, or that a project had of its own: a run ends by the one that it began with.
CREATE TABLE processes (
    -- SHA-256 of the text, in hexadecimal.
    hash        text        PRIMARY KEY CHECK (hash ~ '^[0-9a-f]{64}$'),
    text        text        NOT NULL,
    known_at    timestamptz NOT NULL
);

-- What a project went by since when, newest version last. NULL = by the installation's process. The release before knows
-- only that one: it decides by it as long as it runs.
CREATE TABLE project_processes (
    project_id  text        NOT NULL REFERENCES projects (id),
    version     int         NOT NULL CHECK (version > 0),
    hash        text        REFERENCES processes (hash),
    set_by      text        NOT NULL,
    set_at      timestamptz NOT NULL,
    PRIMARY KEY (project_id, version)
);
