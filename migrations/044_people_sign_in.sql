-- +goose Up

-- Sign-ins at GitHub that have begun and not ended: one use, minutes. state and browser are SHA-256 of what the browser
-- carries in the address and in a cookie.
CREATE TABLE console_logins (
    state       bytea       PRIMARY KEY,
    browser     bytea       NOT NULL,
    -- Of PKCE.
    verifier    text        NOT NULL,
    -- A path of the console.
    return_to   text        NOT NULL,
    begun_at    timestamptz NOT NULL
);
CREATE INDEX console_logins_by_age ON console_logins (begun_at);

-- Who is signed in. Rights are not here: they are the members', read with each request.
CREATE TABLE console_sessions (
    -- SHA-256 of what the cookie holds.
    hash        bytea       PRIMARY KEY,
    github_id   bigint      NOT NULL CHECK (github_id > 0),
    login       text        NOT NULL,
    -- What the browser called itself, for the person.
    device      text        NOT NULL DEFAULT '',
    begun_at    timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX console_sessions_by_expiry ON console_sessions (expires_at);

-- The newest runs of a project in a state.
CREATE INDEX runs_by_project_and_state ON runs (project_id, state, created_at DESC, id DESC);
