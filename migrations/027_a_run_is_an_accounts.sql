-- +goose Up

-- GitHub's number of the account that asked for the run, whatever its login becomes. NULL: GitHub did not say, or the
-- release before has written the row.
ALTER TABLE runs ADD COLUMN requested_by_id bigint;
