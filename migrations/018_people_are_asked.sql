-- +goose Up

-- What people are asked: an approval or a question, with all that has come of it.
CREATE TABLE approvals (
    id          uuid        PRIMARY KEY,
    run_id      uuid        NOT NULL REFERENCES runs (id),
    state       text        NOT NULL CHECK (state IN ('requested', 'open', 'approved', 'denied', 'answered', 'expired', 'withdrawn', 'superseded')),
    asked_at    timestamptz NOT NULL,
    -- NULL = not decided.
    decided_at  timestamptz,
    -- Shape approval.Ticket. Not jsonb, which would write the arguments in other words than those that people have seen.
    ticket      json        NOT NULL,
    CONSTRAINT final_is_decided CHECK ((state IN ('requested', 'open')) = (decided_at IS NULL))
);
-- Those that wait for somebody. The decided ones, which are nearly all, are in none of these.
CREATE INDEX approvals_open_by_run ON approvals (run_id) WHERE decided_at IS NULL;
CREATE INDEX approvals_open_by_age ON approvals (asked_at) WHERE decided_at IS NULL;

-- Where a request is shown: one message per place.
CREATE TABLE chat_messages (
    request     uuid        NOT NULL REFERENCES approvals (id),
    channel     text        NOT NULL,
    target      text        NOT NULL,
    -- What is shown there; 0 = nothing yet. A row without a version is a message that is on its way.
    version     bigint      NOT NULL DEFAULT 0,
    -- How many reminders were sent.
    reminded    int         NOT NULL DEFAULT 0,
    -- Where the channel says that the message is: shape chat.Ref. NULL = it was not posted.
    ref         jsonb,
    changed_at  timestamptz NOT NULL,
    PRIMARY KEY (request, channel, target),
    CONSTRAINT shown_somewhere CHECK (version = 0 OR ref IS NOT NULL)
);

-- Whose account of a channel is whose. An account without a row is nobody's.
CREATE TABLE chat_accounts (
    channel     text        NOT NULL,
    account     text        NOT NULL,
    github_id   bigint      NOT NULL CHECK (github_id > 0),
    login       text        NOT NULL,
    -- As the channel calls them, for people.
    name        text        NOT NULL DEFAULT '',
    linked_at   timestamptz NOT NULL,
    PRIMARY KEY (channel, account)
);

-- One-time codes, by which somebody who is known on GitHub says which account of a channel is theirs.
CREATE TABLE chat_codes (
    -- SHA-256 of the code.
    hash        bytea       PRIMARY KEY,
    github_id   bigint      NOT NULL CHECK (github_id > 0),
    login       text        NOT NULL,
    expires_at  timestamptz NOT NULL
);
