-- +goose Up

-- What runs have reported to have made. work_items.pull_request is the pull request that is at work now, whoever made it:
-- the release before knows only that one, and what it has reported meanwhile has no row here.
CREATE TABLE artefacts (
    repository  text        NOT NULL,
    issue       int         NOT NULL,
    stage       text        NOT NULL,
    -- One of those that the process says the stage makes.
    name        text        NOT NULL CHECK (name <> ''),
    -- The number of a pull request, the path of a file.
    value       text        NOT NULL CHECK (value <> ''),
    -- The run that reported it first.
    run_id      uuid        NOT NULL REFERENCES runs (id),
    made_at     timestamptz NOT NULL,
    -- NULL = it holds.
    superseded_at timestamptz,
    PRIMARY KEY (repository, issue, stage, name, value),
    FOREIGN KEY (repository, issue) REFERENCES work_items (repository, issue)
);

INSERT INTO artefacts (repository, issue, stage, name, value, run_id, made_at, superseded_at)
SELECT DISTINCT ON (r.repository, r.issue, r.stage, p.report ->> 'pullRequest')
       r.repository, r.issue, r.stage, 'pull_request', p.report ->> 'pullRequest', r.id, p.reported_at,
       CASE WHEN p.report ->> 'pullRequest' <> w.pull_request::text THEN now() END
FROM run_reports p
JOIN runs r ON r.id = p.run_id
JOIN work_items w ON (w.repository, w.issue) = (r.repository, r.issue)
WHERE p.report ->> 'pullRequest' <> '0'
ORDER BY r.repository, r.issue, r.stage, p.report ->> 'pullRequest', p.reported_at;
