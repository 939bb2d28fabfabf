-- +goose Up

-- GitHub's numbers of repositories and accounts, from their first sight on. Names change hands, numbers do not.
--
-- full_name stays the name under which the repository was bound. It is its key here: its work items, runs, sessions and
-- comments hang on it, whatever GitHub calls it now. A second repository that took over the name has "name@number".
ALTER TABLE repositories
    ADD COLUMN github_id bigint UNIQUE CHECK (github_id > 0),
    -- As GitHub spells it now, as of when by GitHub's clock, and where it is cloned from; NULL before the first sight.
    ADD COLUMN name      text CHECK (name LIKE '%/%'),
    ADD COLUMN named_at  timestamptz,
    ADD COLUMN clone_url text;

-- login stays the name in the projects file; the right is the account's.
ALTER TABLE members ADD COLUMN github_id bigint CHECK (github_id > 0);
CREATE INDEX members_by_account ON members (github_id) WHERE github_id IS NOT NULL;

-- What a person with the right asked for: the issue's text as she saw it. Shape stage.Task.
ALTER TABLE runs ADD COLUMN task jsonb;
-- The same of the work item: what a revise goes by.
ALTER TABLE work_items ADD COLUMN approved jsonb;

-- When a person, not a program, last did something to the issue or its pull request, by GitHub's clock.
ALTER TABLE work_items ADD COLUMN person_at timestamptz;

-- Runs of the release before go by what the issue says now, as they would have.
UPDATE work_items w
SET approved = jsonb_build_object('title', w.title, 'body', w.body, 'at', now())
WHERE EXISTS (SELECT 1 FROM runs r WHERE (r.repository, r.issue) = (w.repository, w.issue));
UPDATE runs r
SET task = w.approved
FROM work_items w
WHERE (r.repository, r.issue) = (w.repository, w.issue)
  AND r.state NOT IN ('succeeded', 'failed', 'cancelled', 'timed_out');
