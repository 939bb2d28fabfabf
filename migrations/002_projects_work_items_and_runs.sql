-- +goose Up

CREATE TABLE projects (
    id          text        PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
    name        text        NOT NULL,
    -- Limits and defaults of the project: shape stage.Settings.
    settings    jsonb       NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE repositories (
    full_name   text        PRIMARY KEY CHECK (full_name = lower(full_name) AND full_name LIKE '%/%'),
    project_id  text        NOT NULL REFERENCES projects (id),
    hook_id     bigint      NOT NULL DEFAULT 0,
    -- Up to when GitHub's delivery list was compared with ours.
    reconciled_at timestamptz
);
CREATE INDEX repositories_by_project ON repositories (project_id);

-- Who may do what in a project; project '*' is the whole platform.
CREATE TABLE members (
    project_id  text        NOT NULL,
    login       text        NOT NULL CHECK (login = lower(login)),
    role        text        NOT NULL CHECK (role IN ('owner', 'admin', 'maintainer', 'reader')),
    PRIMARY KEY (project_id, login)
);

-- A GitHub issue as far as its runs need it. GitHub stays the source of truth.
CREATE TABLE work_items (
    repository  text        NOT NULL CHECK (repository = lower(repository)),
    issue       int         NOT NULL CHECK (issue > 0),
    -- The name as GitHub spells it.
    full_name   text        NOT NULL,
    title       text        NOT NULL DEFAULT '',
    body        text        NOT NULL DEFAULT '',
    url         text        NOT NULL DEFAULT '',
    base_branch text        NOT NULL DEFAULT '',
    clone_url   text        NOT NULL DEFAULT '',
    labels      text[]      NOT NULL DEFAULT '{}',
    closed      boolean     NOT NULL DEFAULT false,
    github_updated_at timestamptz,
    pull_request int        NOT NULL DEFAULT 0,
    pull_request_url text   NOT NULL DEFAULT '',
    head_sha    text        NOT NULL DEFAULT '',
    -- Grows with every change that the status comment shows.
    version     bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (repository, issue)
);

CREATE TABLE runs (
    id          uuid        PRIMARY KEY,
    repository  text        NOT NULL,
    issue       int         NOT NULL,
    project_id  text        NOT NULL REFERENCES projects (id),
    stage       text        NOT NULL,
    revise      boolean     NOT NULL DEFAULT false,
    role        text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('requested', 'queued', 'starting', 'running', 'waiting',
                                                     'succeeded', 'failed', 'cancelled', 'timed_out')),
    reason      text        NOT NULL DEFAULT '',
    message     text        NOT NULL DEFAULT '',
    engine      text        NOT NULL,
    model       text        NOT NULL,
    reasoning   text        NOT NULL DEFAULT '',
    requested_by text       NOT NULL,
    -- The meaning of what a person did: the same label through two hooks is one intent, and one run.
    intent      text        NOT NULL,
    namespace   text        NOT NULL,
    -- The review that a revise answers.
    review      jsonb,
    thread_id   text        NOT NULL DEFAULT '',
    summary     text        NOT NULL DEFAULT '',
    progress    text        NOT NULL DEFAULT '',
    deadline    timestamptz,
    heartbeat_at timestamptz,
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz,
    FOREIGN KEY (repository, issue) REFERENCES work_items (repository, issue),
    CONSTRAINT one_run_per_intent UNIQUE (intent),
    CONSTRAINT finished_when_final CHECK (
        (state IN ('succeeded', 'failed', 'cancelled', 'timed_out')) = (finished_at IS NOT NULL))
);
CREATE UNIQUE INDEX one_active_run_per_issue ON runs (repository, issue)
    WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'timed_out');
CREATE INDEX runs_by_issue ON runs (repository, issue, created_at);
-- Admission looks only at what is active in one project.
CREATE INDEX active_runs_by_project ON runs (project_id, state, created_at)
    WHERE state IN ('requested', 'queued', 'starting', 'running', 'waiting');

-- The agent's conversation, continued by the next run of the issue.
CREATE TABLE sessions (
    repository  text        NOT NULL,
    issue       int         NOT NULL,
    engine      text        NOT NULL,
    version     bigint      NOT NULL CHECK (version > 0),
    thread_id   text        NOT NULL,
    sha256      bytea       NOT NULL,
    data        bytea       NOT NULL,
    run_id      uuid        NOT NULL REFERENCES runs (id),
    saved_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository, issue, engine)
);

CREATE TABLE run_logs (
    run_id      uuid        NOT NULL REFERENCES runs (id),
    seq         bigint      NOT NULL,
    at          timestamptz NOT NULL,
    stream      text        NOT NULL,
    line        text        NOT NULL,
    PRIMARY KEY (run_id, seq)
);

-- The agent's final word, once.
CREATE TABLE run_reports (
    run_id      uuid        PRIMARY KEY REFERENCES runs (id),
    report      jsonb       NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE llm_calls (
    id          uuid        PRIMARY KEY,
    run_id      uuid        REFERENCES runs (id),
    model       text        NOT NULL,
    endpoint    text        NOT NULL,
    status      int         NOT NULL,
    response_id text        NOT NULL DEFAULT '',
    input_tokens bigint     NOT NULL DEFAULT 0,
    cached_tokens bigint    NOT NULL DEFAULT 0,
    output_tokens bigint    NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    -- Millionths of a dollar; NULL where the price is not known.
    cost_microusd bigint,
    started_at  timestamptz NOT NULL,
    duration_ms int         NOT NULL
);
CREATE INDEX llm_calls_by_run ON llm_calls (run_id, started_at) WHERE run_id IS NOT NULL;

-- The one status comment of a work item. A row without comment_id says that somebody is about to create it.
CREATE TABLE github_comments (
    repository  text        NOT NULL,
    issue       int         NOT NULL,
    comment_id  bigint,
    version     bigint      NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository, issue)
);

-- Until when a credential must not be used, as GitHub told us.
CREATE TABLE github_pauses (
    credential  text        PRIMARY KEY,
    until       timestamptz NOT NULL,
    reason      text        NOT NULL DEFAULT ''
);

-- What costs money, or can't be repeated: planned before, done after.
CREATE TABLE actions (
    key         text        PRIMARY KEY,
    function    text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('planned', 'done')),
    result      jsonb,
    planned_at  timestamptz NOT NULL DEFAULT now(),
    done_at     timestamptz
);
