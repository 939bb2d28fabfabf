-- +goose Up

-- The version of the work item that each part shows: {"labels #12": 7, "status <sha> codexk8s/dev": 6}.
ALTER TABLE github_comments ADD COLUMN parts jsonb NOT NULL DEFAULT '{}';

-- Until now commit statuses had theirs among the actions, under "github-status <work item> <sha> <name>".
UPDATE github_comments g
SET parts = s.parts
FROM (
    SELECT split_part(key, ' ', 2) AS work_item,
           jsonb_object_agg('status ' || substr(key, length('github-status ') + length(split_part(key, ' ', 2)) + 2), result -> 'version') AS parts
    FROM actions
    WHERE key LIKE 'github-status %' AND state = 'done'
    GROUP BY 1
) s
WHERE s.work_item = g.repository || '#' || g.issue;
