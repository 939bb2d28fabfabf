-- +goose Up

-- What a project's prompts had of its own since when, newest version last: templates by language and name of the part.
-- NULL = nothing. The release before has agents told what is built in, as long as it runs.
CREATE TABLE project_prompts (
    project_id  text        NOT NULL REFERENCES projects (id),
    version     int         NOT NULL CHECK (version > 0),
    parts       jsonb,
    set_by      text        NOT NULL,
    set_at      timestamptz NOT NULL,
    PRIMARY KEY (project_id, version)
);

-- What the agent's task was written from: template, language, source, version, hash. NULL = not known, or not yet.
ALTER TABLE runs ADD COLUMN prompt jsonb;
