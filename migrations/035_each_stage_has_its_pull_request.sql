-- +goose Up

-- Pull requests of branches that belong to one stage. That of the branch codexk8s/issue-N, the only one that the release
-- before knows, stays in work_items; it is of the stage that made it, or of the one that changes code.
CREATE TABLE pull_requests (
    repository  text NOT NULL,
    issue       int  NOT NULL,
    branch      text NOT NULL,
    stage       text NOT NULL,
    number      int  NOT NULL CHECK (number > 0),
    url         text NOT NULL DEFAULT '',
    head_sha    text NOT NULL DEFAULT '',
    pull        jsonb NOT NULL, -- as in work_items
    PRIMARY KEY (repository, issue, branch),
    FOREIGN KEY (repository, issue) REFERENCES work_items (repository, issue)
);

CREATE INDEX pull_requests_by_number ON pull_requests (repository, number);

-- The branch that the run's pull request is to be merged into; '' = the work item's base branch.
ALTER TABLE runs ADD COLUMN base text NOT NULL DEFAULT '';
