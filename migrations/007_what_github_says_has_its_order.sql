-- +goose Up

ALTER TABLE work_items
    -- GitHub's time of the newest act of a person that was decided.
    ADD COLUMN acted_at timestamptz,
    -- Triggers on the issue that were answered, and so come off.
    ADD COLUMN answered text[] NOT NULL DEFAULT '{}',
    -- What a person was told last, beside the state.
    ADD COLUMN note text NOT NULL DEFAULT '',
    -- What is known of the pull request beside its number and head: shape stage.Pull.
    ADD COLUMN pull jsonb NOT NULL DEFAULT '{}';

-- A pull request that is known now was delivered by a run. Approvals were labels until now.
UPDATE work_items
SET pull = jsonb_build_object('delivered', true) || CASE
    WHEN 'state:approved' = ANY (labels)
    THEN jsonb_build_object('approvals', jsonb_build_array(jsonb_build_object('review', 0, 'by', '', 'sha', head_sha)))
    ELSE '{}' END
WHERE pull_request > 0;

CREATE INDEX work_items_by_pull_request ON work_items (repository, pull_request) WHERE pull_request > 0;
