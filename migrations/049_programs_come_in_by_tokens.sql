-- +goose Up

-- By which programs use the console's API as the person who made them. Rights are not here: they are the members', read
-- with each request, as far as scopes and projects allow.
CREATE TABLE console_tokens (
    id          uuid        PRIMARY KEY,
    -- SHA-256 of the token.
    hash        bytea       NOT NULL UNIQUE,
    github_id   bigint      NOT NULL CHECK (github_id > 0),
    login       text        NOT NULL,
    name        text        NOT NULL,
    scopes      text[]      NOT NULL,
    -- In which it is good; none = in all.
    projects    text[]      NOT NULL DEFAULT '{}',
    made_at     timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    -- To the hour.
    used_at     timestamptz,
    CONSTRAINT console_tokens_name UNIQUE (github_id, name)
);
